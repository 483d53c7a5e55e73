"""Keys of timm's VisionTransformer."""

from tokenjax.convert.mapping import Entry, Table, convolution, linear, norm
from tokenjax.convert.tables.reducers import reducer_entries
from tokenjax.convert.tables.vit_blocks import vit_blocks
from tokenjax.models.baselines.vision_transformer import ImageNetViT


def imagenet_vit_table(model: ImageNetViT) -> Table:
    """Return the keys of what the model has."""
    root = ("params", "encoder")
    tokens = {
        "cls_token": model.class_token,
        "dist_token": model.distilled,
        "reg_token": model.reg_tokens > 0,
        "pos_embed": True,
    }
    entries = [Entry(name, (*root, name)) for name, there in tokens.items() if there]
    entries += convolution("patch_embed.proj", (*root, "patch_embed"))
    entries += vit_blocks(
        root,
        model.depth,
        qkv_bias=model.qkv_bias,
        qk_norm=model.qk_norm,
        layer_scale=model.init_values is not None,
    )
    if model.norms_pooled:
        entries += norm("fc_norm", ("params", "fc_norm"))
    else:
        entries += norm("norm", (*root, "norm"))
    entries += linear("head", ("params", "head"))
    if model.distilled:
        entries += linear("head_dist", ("params", "head_dist"))
    entries += reducer_entries(model.written_reduction(), model.facts(), root)
    return Table(tuple(entries))
