"""Keys of CIFAR-ViT's VisionTransformer state_dict."""

from tokenjax.convert.mapping import Entry, Table, convolution, linear, norm
from tokenjax.models.vit import VisionTransformer


def vit_table(model: VisionTransformer) -> Table:
    """The recorded keys."""
    entries = [
        Entry("cls_token", ("params", "cls_token")),
        Entry("pos_embed", ("params", "pos_embed")),
    ]
    entries += convolution("patch_embed.projection", ("params", "patch_embed"))
    for index in range(model.depth):
        torch_block, block = f"blocks.{index}", ("params", f"blocks_{index}")
        for layer in ("norm1", "norm2"):
            entries += norm(f"{torch_block}.{layer}", (*block, layer))
        for part, layer in (
            ("attn", "qkv"),
            ("attn", "proj"),
            ("mlp", "fc1"),
            ("mlp", "fc2"),
        ):
            entries += linear(f"{torch_block}.{part}.{layer}", (*block, part, layer))
    entries += norm("norm", ("params", "norm"))
    entries += linear("head", ("params", "head"))
    return Table(tuple(entries))
