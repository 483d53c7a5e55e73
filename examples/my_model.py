"""A model, a data source and a router of your own, in one file of your own.

python train.py --config examples/my_config.py
python bench.py --model my_model --import examples/my_model.py
"""

import flax.linen as nn
import jax
import numpy as np

from tokenjax import data, models
from tokenjax.data.dataset import make_dataset
from tokenjax.models.argument_types import Channels, Classes, Side
from tokenjax.models.routing import Routed, Router, register_router
from tokenjax.ops.straight_through import straight_through


class MyModel(nn.Module):
    """The mean over patches of what a small network makes of each."""

    num_classes: Classes = 4  # these three follow from the data
    img_size: Side = 16
    in_channels: Channels = 1
    patch_size: int = 8
    embed_dim: int = 32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False):  # (b, h, w, c)
        patch = (self.patch_size, self.patch_size)
        tokens = nn.gelu(nn.Conv(self.embed_dim, patch, patch)(images))
        logits = nn.Dense(self.num_classes, name="head")(tokens.mean((1, 2)))
        return logits, {"losses": {}}

    def example_inputs(self, batch_size: int) -> tuple[np.ndarray]:
        side = self.img_size
        return (np.zeros((batch_size, side, side, self.in_channels), np.float32),)

    def parameter_groups(self) -> dict[str, tuple[str, ...]]:
        return {"head": ("head/**",)}


def my_source(image_size: int = 16, examples: int = 1024, noise: float = 0.2):
    """Stripes in four directions."""
    random = np.random.default_rng(0)
    labels = random.integers(4, size=examples, dtype=np.int32)
    angle, shift = labels * np.pi / 4, random.uniform(0, 6.3, examples)
    y, x = np.mgrid[:image_size, :image_size][..., None]  # (h, w, 1); below (h, w, b)
    waves = np.sin(x * np.cos(angle) + y * np.sin(angle) + shift)
    waves += noise * random.normal(size=waves.shape)
    images = np.uint8(np.clip(127 + 100 * waves, 0, 255)).transpose(2, 0, 1)[..., None]
    parts = np.split(np.arange(examples), (examples // 2, 3 * examples // 4))
    splits = (data.ArraySplit(images[part], labels[part]) for part in parts)
    return make_dataset("my_source", ("-", "/", "|", "\\"), *splits)


class MyRouter(Router):
    """Send the patches that score above their image's mean."""

    def __call__(self, scores, train, temperature):  # (b, patches)
        mean = scores.mean(axis=1, keepdims=True)
        soft = nn.sigmoid((scores - mean) / temperature)
        hard = (scores >= mean).astype(scores.dtype)
        return Routed(straight_through(hard, soft), soft, mean.mean())


models.register("my_model", MyModel)
data.register_source("my_source", my_source)
register_router("my_router", MyRouter)
