"""What to know of a model before it is measured: sizes that nobody meant."""

import flax.linen as nn

from tokenjax.models.linear_vit import LinearVisionTransformer
from tokenjax.models.patch_grid import pair
from tokenjax.models.transformer import Transformer

MOST_TOKENS = 4096  # 64 x 64; a CIFAR image has 64
INSTEAD = "vit_base_patch16"  # what the others at this size are compared with


def of_model(label: str, module: nn.Module) -> list[str]:
    """Return sentences on a model that takes far longer than is likely wanted."""
    attends = isinstance(module, Transformer)
    if not attends or isinstance(module, LinearVisionTransformer):
        return []
    side, patch = pair(module.img_size)[0], module.patch_size
    tokens = (side // patch) ** 2
    if tokens <= MOST_TOKENS:
        return []
    gib = 4 * module.num_heads * tokens**2 / 2**30
    return [
        f"{label} at {side} pixels: patches of {patch} pixels make {tokens:,} tokens, "
        f"whose attention takes {gib:.1f} GiB an image and block; patches of 16 have "
        f"{INSTEAD}, and {label.partition('(')[0]}(patch_size=16)"
    ]
