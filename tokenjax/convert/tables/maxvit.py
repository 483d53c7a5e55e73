"""Keys of the state_dict of timm's MaxxVit, TensorFlow form (maxvit_tiny_tf_224)."""

from tokenjax.convert.mapping import (
    Entry,
    Layout,
    Path,
    Table,
    batch_norm,
    convolution,
    linear,
    norm,
)
from tokenjax.models.baselines.maxvit import MaxViT

_POINTWISE = Layout(  # (out, in, 1, 1) <-> (in, out)
    lambda array: array[:, :, 0, 0].T,
    lambda array: array.T[:, :, None, None],
)


def maxvit_table(model: MaxViT) -> Table:
    """Return the keys of the state_dict; it stores no lookup tables of positions."""
    entries = convolution("stem.conv1", ("params", "stem_conv1"))
    entries += batch_norm("stem.norm1", ("params", "stem_norm1"))
    entries += convolution("stem.conv2", ("params", "stem_conv2"))
    channels = model.stem_width
    for stage, (dim, depth) in enumerate(
        zip(model.embed_dim, model.depths, strict=True)
    ):
        for index in range(depth):
            torch_block = f"stages.{stage}.blocks.{index}"
            block = ("params", f"stages_{stage}_blocks_{index}")
            if dim != channels:
                expand = f"{torch_block}.conv.shortcut.expand"
                entries += _pointwise(expand, (*block, "conv", "shortcut"))
                channels = dim
            entries += _mbconv(f"{torch_block}.conv", (*block, "conv"))
            for name in ("attn_block", "attn_grid"):
                entries += _attention(f"{torch_block}.{name}", (*block, name))
    entries += norm("head.norm", ("params", "head_norm"))
    entries += linear("head.pre_logits.fc", ("params", "pre_logits"))
    entries += linear("head.fc", ("params", "head"))
    return Table(tuple(entries))


def _mbconv(prefix: str, path: Path) -> list[Entry]:
    entries = []
    for name in ("pre_norm", "norm1", "norm2"):
        entries += batch_norm(f"{prefix}.{name}", (*path, name))
    kernel = (*path, "conv1", "kernel")
    entries.append(Entry(f"{prefix}.conv1_1x1.weight", kernel, _POINTWISE))
    # A convolution without a bias: its weight alone.
    entries += convolution(f"{prefix}.conv2_kxk", (*path, "conv2"))[:1]
    for name in ("fc1", "fc2"):
        entries += _pointwise(f"{prefix}.se.{name}", (*path, "se", name))
    return entries + _pointwise(f"{prefix}.conv3_1x1", (*path, "conv3"))


def _attention(prefix: str, path: Path) -> list[Entry]:
    table = "relative_position_bias_table"
    entries = [Entry(f"{prefix}.attn.rel_pos.{table}", (*path, "attn", table))]
    for name in ("norm1", "norm2"):
        entries += norm(f"{prefix}.{name}", (*path, name))
    for part, name in (
        ("attn", "qkv"),
        ("attn", "proj"),
        ("mlp", "fc1"),
        ("mlp", "fc2"),
    ):
        entries += linear(f"{prefix}.{part}.{name}", (*path, part, name))
    return entries


def _pointwise(prefix: str, path: Path) -> list[Entry]:
    """Return the entries of a 1 x 1 convolution: weight and bias."""
    return [
        Entry(f"{prefix}.weight", (*path, "kernel"), _POINTWISE),
        Entry(f"{prefix}.bias", (*path, "bias")),
    ]
