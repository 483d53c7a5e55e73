"""Keys of the state_dict of TransReID's vision transformer, which are timm's."""

from tokenjax.convert.mapping import (
    LINEAR,
    Entry,
    Table,
    convolution,
    linear,
    mlp,
    norm,
)
from tokenjax.convert.tables.reducers import reducer_entries
from tokenjax.models.demo.camera_vit import CameraViT


def camera_vit_table(model: CameraViT) -> Table:
    """Return the table of the recorded state_dict's keys."""
    names = ["cls_token", "pos_embed"]
    if model.embedding_rows:
        names.append("sie_embed")
    entries = [Entry(name, ("params", name)) for name in names]
    entries += convolution("patch_embed.proj", ("params", "patch_embed"))
    for index in range(model.depth):
        torch_block, block = f"blocks.{index}", ("params", f"blocks_{index}")
        qkv, in_proj = f"{torch_block}.attn.qkv", (*block, "attn", "in_proj")
        entries.append(Entry(f"{qkv}.weight", (*in_proj, "kernel"), LINEAR))
        if model.qkv_bias:
            entries.append(Entry(f"{qkv}.bias", (*in_proj, "bias")))
        entries += linear(f"{torch_block}.attn.proj", (*block, "attn", "out_proj"))
        for layer in ("norm1", "norm2"):
            entries += norm(f"{torch_block}.{layer}", (*block, layer))
        entries += mlp(f"{torch_block}.mlp", (*block, "mlp"))
    entries += norm("norm", ("params", "norm"))
    entries += reducer_entries(model.written_reduction(), model.facts())
    return Table(tuple(entries))
