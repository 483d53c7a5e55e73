"""Keys of the state_dicts of CIFAR-ViT's models."""

from tokenjax.convert.mapping import Entry, Table, convolution, linear, norm
from tokenjax.convert.tables.reducers import layer_entries, reducer_entries
from tokenjax.models.dynamic_vit import DynamicViT
from tokenjax.models.reduction.predictors import LOCAL_GLOBAL_LAYERS
from tokenjax.models.transformer import Transformer
from tokenjax.models.vit import VisionTransformer


def vit_table(model: Transformer) -> Table:
    """Return the recorded keys; VisionTransformer's and LightweightViT's are alike."""
    return Table(tuple(_transformer(model)))


def dynamic_vit_table(model: DynamicViT) -> Table:
    """Return the recorded keys; local_global predictors have Rao et al.'s.

    (raoyongming/DynamicViT: score_predictor.0.in_conv.0.weight, ...)
    """
    entries = _transformer(model)
    if model.predictor == "linear":
        for index in range(model.depth):
            score = ("params", f"predictors_{index}", "score")
            entries += linear(f"predictors.{index}", score)
    else:
        for step in range(len(model.steps())):
            for kind, key, name in LOCAL_GLOBAL_LAYERS:
                path = ("params", f"predictors_{step}", name)
                entries += layer_entries(kind, f"score_predictor.{step}.{key}", path)
    return Table(tuple(entries))


def _transformer(model: Transformer) -> list[Entry]:
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
    if isinstance(model, VisionTransformer | DynamicViT):
        entries += reducer_entries(model.written_reduction(), model.facts())
    return entries
