"""ResNet of bottleneck blocks, the stride in the 3x3 convolution ("v1.5").

    x = max_pool(relu(bn(conv7x7(images))))                              strides 2, 2
    x = relu(shortcut(x) + bn(conv1x1(relu(bn(conv3x3(relu(bn(conv1x1(x)))))))))
    logits = fc(mean over the positions of x)

the middle line for each block; `shortcut` is bn(conv1x1(x)) where a stage begins, else
x. The first block of every stage but the first halves height and width.

Axes: batch b, height h, width w, channels c. Padding is symmetric, as PyTorch's.

Raises: UserError for arguments that do not fit together, ValueError for images that do
not fit the arguments.

Source: He et al. 2015 (arXiv 1512.03385); keys, arguments and defaults are those of
timm 1.0.31, `timm/models/resnet.py`, ResNet with Bottleneck. The last batch norm of a
block begins at 1, as with timm's zero_init_last=False.
"""

import functools
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import DType
from tokenjax.models import contract
from tokenjax.models.argument_types import (
    Channels,
    Classes,
    DropPath,
    ExampleSide,
    HeadDropout,
    StageDepths,
    StageWidths,
)
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.layers import Aux, BatchNorm, Dropout, Linear
from tokenjax.models.parameter_layers import whole
from tokenjax.ops.maximum import first_maximum

EXPANSION = 4  # a block's output channels over those of its 3x3 convolution
STEM_CHANNELS = 64


class Convolution(nn.Module):
    """Without a bias: (b, h, w, in) -> (b, ceil(h / stride), ceil(w / stride), c)."""

    features: int
    side: int  # odd; the border is side // 2
    stride: int = 1
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        shape = (self.side, self.side, images.shape[-1], self.features)
        init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        kernel = self.param("kernel", init, shape).astype(self.dtype)
        images = images.astype(self.dtype)
        if self.side > 1:
            return self._convolution(images, kernel)
        return jax.lax.platform_dependent(
            images, kernel, cpu=self._product, default=self._convolution
        )

    def _convolution(self, images: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            images,
            kernel,
            (self.stride, self.stride),
            [(self.side // 2, self.side // 2)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def _product(self, images: jax.Array, kernel: jax.Array) -> jax.Array:
        """Compute the same for a side of 1; on CPU in about half the time."""
        images = images[:, :: self.stride, :: self.stride]
        outputs = images.reshape(-1, images.shape[-1]) @ kernel[0, 0]
        return outputs.reshape(*images.shape[:3], self.features)


def max_pool(images: jax.Array) -> jax.Array:
    """Pool maxima of 3x3 windows, stride 2, border 1.

    (b, h, w, c) -> (b, ~h/2, ~w/2, c).

    What comes is not negative, so that a border of zeros does. Of equal values the
    first, by rows, has the gradient. First across, then down: on CPU a third of the
    time of XLA's windows (at 112 x 112 x 64 0.3 for 0.9 ms).
    """
    rows, columns = (2 * ((side - 1) // 2) + 1 for side in images.shape[1:3])
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    across = [padded[:, :, start : start + columns : 2] for start in range(3)]
    widest = functools.reduce(first_maximum, across)  # (b, h + 2, w / 2, c)
    down = [widest[:, start : start + rows : 2] for start in range(3)]
    return functools.reduce(first_maximum, down)


class Bottleneck(nn.Module):
    """One block: (b, h, w, in) -> (b, h / stride, w / stride, 4 planes)."""

    planes: int
    stride: int
    shortcut: bool  # whether it has layers of its own
    drop_path: float
    dtype: DType

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        convolution = functools.partial(Convolution, dtype=self.dtype)
        norm = functools.partial(BatchNorm, dtype=self.dtype)
        branch = convolution(self.planes, 1, name="conv1")(images)
        branch = nn.relu(norm(name="bn1")(branch, train))
        branch = convolution(self.planes, 3, self.stride, name="conv2")(branch)
        branch = nn.relu(norm(name="bn2")(branch, train))
        branch = convolution(EXPANSION * self.planes, 1, name="conv3")(branch)
        branch = norm(name="bn3")(branch, train)
        branch = Dropout(self.drop_path, (1, 2, 3), deterministic=not train)(branch)
        if self.shortcut:
            width = EXPANSION * self.planes
            images = convolution(width, 1, self.stride, name="downsample_conv")(images)
            images = norm(name="downsample_bn")(images, train)
        return nn.relu(images + branch)


class ResNet(CheckedModule):
    """Classifier: images (b, h, w, in_chans) of any size -> (logits (b, classes), aux).

    `aux`: "features" (b, 4 channels[-1]), what the classifier reads; "losses" {}. In
    training dropout of the features, of `drop_rate`, and stochastic depth, of rates 0
    to `drop_path_rate` from first to last block, draw from the rng "dropout".
    `img_size` is that of `example_inputs` alone.
    """

    layers: StageDepths = (3, 4, 6, 3)
    num_classes: Classes = 1000
    in_chans: Channels = 3
    channels: Annotated[
        StageWidths,
        "of a block's 3 x 3 convolution, for each stage; it gives four times as many",
    ] = (64, 128, 256, 512)
    drop_rate: HeadDropout = 0.0
    drop_path_rate: DropPath = 0.0
    img_size: ExampleSide = 224
    dtype: DType = "float32"

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        return [
            (
                len(self.layers) != len(self.channels) or not self.layers,
                "layers and channels must be of one length, a number per stage",
            ),
        ]

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        return {contract.HEAD: ("fc/**",), contract.INPUT: ("conv1/kernel",)}

    def parameter_layers(self) -> contract.Layers:
        """Return its parameters from input to output, as `contract.Layered` says."""
        return [whole("conv1", "bn1"), *map(whole, self.blocks()), whole("fc")]

    def example_inputs(self, batch_size: int) -> tuple[jax.Array]:
        """Return zeros of a shape that the model takes."""
        shape = (batch_size, self.img_size, self.img_size, self.in_chans)
        return (jnp.zeros(shape, jnp.float32),)

    def blocks(self) -> dict[str, dict[str, Any]]:
        """Return name and arguments of every block, in their order."""
        rates = np.linspace(0, self.drop_path_rate, sum(self.layers)).tolist()
        blocks: dict[str, dict[str, Any]] = {}
        channels = STEM_CHANNELS
        stages = zip(self.layers, self.channels, strict=True)
        for stage, (count, planes) in enumerate(stages):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks[f"layer{stage + 1}_{index}"] = {
                    "planes": planes,
                    "stride": stride,
                    "shortcut": stride > 1 or channels != EXPANSION * planes,
                    "drop_path": rates[len(blocks)],
                }
                channels = EXPANSION * planes
        return blocks

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, Aux]:
        """Compute; see the class."""
        if images.ndim != 4 or images.shape[-1] != self.in_chans:
            raise ValueError(
                f"the model takes images (batch, height, width, {self.in_chans}), "
                f"channels last; got {tuple(images.shape)}"
            )
        dtype = jnp.dtype(self.dtype)
        images = Convolution(STEM_CHANNELS, 7, 2, dtype, name="conv1")(images)
        images = nn.relu(BatchNorm(dtype, name="bn1")(images, train))
        images = max_pool(images)
        for name, settings in self.blocks().items():
            images = Bottleneck(**settings, dtype=dtype, name=name)(images, train)
        features = images.astype(jnp.float32).mean((1, 2))  # (b, c)
        dropped = Dropout(self.drop_rate, deterministic=not train)(features)
        logits = Linear(self.num_classes, dtype=dtype, exact=True, name="fc")(dropped)
        return logits, {"features": features, "losses": {}}
