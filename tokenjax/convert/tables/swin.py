"""Keys of the state_dict of timm's Swin transformer.

Position indices and masks are no part of it: timm 1.0.31 builds them anew.
"""

from tokenjax.convert.mapping import (
    LINEAR,
    SAME,
    Entry,
    Table,
    convolution,
    linear,
    mlp,
    norm,
)
from tokenjax.models.baselines.swin import SwinTransformer

_TABLE = "relative_position_bias_table"


def swin_table(model: SwinTransformer) -> Table:
    """Return the table of the keys of timm 1.0.31."""
    entries = convolution("patch_embed.proj", ("params", "patch_embed"))
    entries += norm("patch_embed.norm", ("params", "patch_norm"))
    for stage, depth in enumerate(model.depths):
        if stage:
            torch_merging = f"layers.{stage}.downsample"
            merging = ("params", f"downsample_{stage}")
            entries += norm(f"{torch_merging}.norm", (*merging, "norm"))
            path = (*merging, "reduction", "kernel")
            entries.append(Entry(f"{torch_merging}.reduction.weight", path, LINEAR))
        for index in range(depth):
            torch_block = f"layers.{stage}.blocks.{index}"
            block = ("params", f"layers_{stage}_blocks_{index}")
            attention, torch_attention = (*block, "attn"), f"{torch_block}.attn"
            for torch_key, rest, layout in (
                (_TABLE, (_TABLE,), SAME),
                ("qkv.weight", ("qkv", "kernel"), LINEAR),
                *([("qkv.bias", ("qkv", "bias"), SAME)] if model.qkv_bias else []),
            ):
                torch_key = f"{torch_attention}.{torch_key}"
                entries.append(Entry(torch_key, (*attention, *rest), layout))
            entries += linear(f"{torch_attention}.proj", (*attention, "proj"))
            for layer in ("norm1", "norm2"):
                entries += norm(f"{torch_block}.{layer}", (*block, layer))
            entries += mlp(f"{torch_block}.mlp", (*block, "mlp"))
    entries += norm("norm", ("params", "norm"))
    entries += linear("head.fc", ("params", "head"))
    return Table(tuple(entries))
