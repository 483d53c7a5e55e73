"""VMamba: blocks that mix places by a selective scan along four paths of the map.

    maps = LN(conv(gelu(LN(conv(images)))))                     a quarter of the image
    maps += out_proj(LN(SS2D(silu(depthwise(in_proj(LN(maps)))))))   a block: mixing,
    maps += MLP(LN(maps))                                            then an MLP
    maps = LN(conv(maps))                             between stages: half of the map
    logits = head(mean over places of LN(maps))

    SS2D(u) = merge(scan(u, softplus(dt W + bias), -exp(A_log), B, C, D)),
    (dt | B | C) = x_proj(u), each path with weights of its own

See `tokenjax.ops.selective_scan` for the scan. Convolutions are 3 x 3 with zeros at
the border, of stride 2 but for the depthwise ones. LN is over channels, of epsilon
1e-5. A map is projected before it is laid out along the paths, which only reorder its
places: one product for all four.

Source: Liu et al. 2024, VMamba (arXiv 2401.10166). Arguments, defaults and keys are
those of MzeroMiko/VMamba (commit 2ed52ea), classification/models/vmamba.py, `VSSM` in
its version 2: forward_type "v05_noz" ("v3noz" is the same), downsample "v3", patch
embedding "v2", norm_layer "ln2d", ssm_init "v0". "vmamba_tiny" is their
VMamba-T[s1l8]: vssm1_tiny_0230s, configs/vssm/vmambav2v_tiny_224.yaml, 30.25 million
parameters and 4.9 G at 224 pixels as they count: 4.81 G multiply-adds of the products
and, for every path, place and channel of the scan, 9 FLOPs per state and 1 for D, in
all 0.06 G. Ours: `dtype`, `img_size`.

Axes: path k of 4, batch b, map h, w, position l along a path, channels c, d.
"""

import functools
import math
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import LARGEST_SIZE, SIZE, DType, at_least
from tokenjax.models import contract, layers
from tokenjax.models.argument_types import (
    RATIO,
    Channels,
    Classes,
    Dropout,
    DropPath,
    ExampleSide,
    MlpRatio,
    StageDepths,
)
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.encoder import normal_init
from tokenjax.models.layers import Aux
from tokenjax.models.parameter_layers import number_stages, whole
from tokenjax.models.registry import Presets
from tokenjax.ops.affine import affine
from tokenjax.ops.depthwise import depthwise_convolution
from tokenjax.ops.selective_scan import PATHS, cross_merge, cross_scan, selective_scan
from tokenjax.ops.wide_product import wide_product

PRESETS: Presets = {  # the original's factories
    "vmamba_tiny": {  # vmamba_tiny_s1l8
        "depths": (2, 2, 8, 2),
        "dims": 96,
        "drop_path_rate": 0.2,
        "ssm_d_state": 1,
        "ssm_ratio": 1.0,
        "ssm_conv_bias": False,
    },
}
_STEPS = (0.001, 0.1)  # what softplus of the bias of dt is drawn between
_Linear = functools.partial(
    layers.Linear, kernel_init=normal_init, bias_init=nn.initializers.zeros
)


class VMamba(CheckedModule):
    """Images (b, height, width, in_chans) -> (logits (b, num_classes) in float32, aux).

    Images of any size; `img_size` is only what `example_inputs` gives. `aux`: "losses"
    {}. In training dropout of `ssm_drop_rate` after the mixing and `mlp_drop_rate` in
    the MLPs, and stochastic depth of rates 0 to `drop_path_rate` from first to last
    block, draw from the rng "dropout".

    Raises: UserError for arguments that do not fit together.
    """

    in_chans: Channels = 3
    num_classes: Classes = 1000
    depths: StageDepths = (2, 2, 9, 2)
    dims: Annotated[
        int | tuple[int, ...],
        at_least(2, LARGEST_SIZE),
        "channels of a place, for each stage; one number doubles from stage to stage",
    ] = (96, 192, 384, 768)
    ssm_d_state: Annotated[int, SIZE, "states of the scan, for each channel"] = 16
    ssm_ratio: Annotated[
        float, RATIO, "channels of the scan, as a multiple of a place's"
    ] = 2.0
    ssm_dt_rank: Annotated[
        int | Literal["auto"], SIZE, "of the scan's step; auto: a 16th of the channels"
    ] = "auto"
    ssm_conv_bias: Annotated[bool, "a bias in the convolution before the scan"] = True
    ssm_drop_rate: Annotated[
        Dropout, "share of the scan's outputs set to 0 in training"
    ] = 0.0
    mlp_ratio: MlpRatio = 4.0
    mlp_drop_rate: Annotated[
        Dropout, "share of an MLP's activations set to 0 in training"
    ] = 0.0
    drop_path_rate: DropPath = 0.1
    img_size: ExampleSide = 224
    dtype: DType = "float32"

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        dims = self.stage_dims
        return [
            (not self.depths, "depths must have a stage"),
            (
                len(dims) != len(self.depths),
                f"dims must be one number, or one for each of the {len(self.depths)} "
                "stages",
            ),
            (
                min(self.ssm_ratio, self.mlp_ratio) * min(dims, default=1) < 1,
                "ssm_ratio and mlp_ratio must leave at least one channel",
            ),
        ]

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Return the channels of every stage."""
        if isinstance(self.dims, int):
            return tuple(self.dims * 2**stage for stage in range(len(self.depths)))
        return tuple(self.dims)

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        return {
            contract.HEAD: ("head/**",),
            contract.INPUT: ("stem1/conv/kernel",),
        }

    def parameter_layers(self) -> contract.Layers:
        """Return its parameters from input to output, as `contract.Layered` says."""
        return [
            whole("stem1", "stem2"),
            *number_stages(
                "stages", self.depths, lambda stage: whole(f"downsample_{stage - 1}")
            ),
            whole("norm", "head"),
        ]

    def example_inputs(self, batch_size: int) -> tuple[jax.Array]:
        """Return zeros of a shape that the model takes."""
        shape = (batch_size, self.img_size, self.img_size, self.in_chans)
        return (jnp.zeros(shape, jnp.float32),)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, Aux]:
        """Compute; see the class.

        Raises: ValueError for images of another shape than (b, h, w, in_chans).
        """
        if images.ndim != 4 or images.shape[-1] != self.in_chans:
            raise ValueError(
                f"the model takes images (batch, height, width, {self.in_chans}), "
                f"channels last; got {tuple(images.shape)}"
            )
        dtype, dims = jnp.dtype(self.dtype), self.stage_dims
        conv = functools.partial(HalvingConv, dtype=dtype)
        drop_paths = iter(np.linspace(0, self.drop_path_rate, sum(self.depths)))

        maps = conv(dims[0] // 2, name="stem1")(images.astype(dtype))
        maps = conv(dims[0], name="stem2")(layers.gelu(maps))
        for stage, (depth, dim) in enumerate(zip(self.depths, dims, strict=True)):
            if stage:
                maps = conv(dim, name=f"downsample_{stage - 1}")(maps)
            for index in range(depth):
                name = f"stages_{stage}_blocks_{index}"
                block = self._block(dim, float(next(drop_paths)), name)
                maps = block(maps, train)  # (b, h, w, c)
        maps = layers.LayerNorm(dtype=dtype, name="norm")(maps)
        pooled = maps.mean((1, 2), dtype=jnp.float32)  # (b, c)
        head = _Linear(self.num_classes, dtype=dtype, exact=True, name="head")
        return head(pooled), {"losses": {}}

    def _block(self, dim: int, drop_path: float, name: str) -> nn.Module:
        rank = self.ssm_dt_rank
        return VSSBlock(
            inner_dim=int(self.ssm_ratio * dim),
            rank=-(-dim // 16) if isinstance(rank, str) else rank,
            state_dim=self.ssm_d_state,
            conv_bias=self.ssm_conv_bias,
            dropout=self.ssm_drop_rate,
            hidden_dim=int(self.mlp_ratio * dim),
            mlp_dropout=self.mlp_drop_rate,
            drop_path=drop_path,
            dtype=jnp.dtype(self.dtype),
            name=name,
        )


class HalvingConv(nn.Module):
    """LN(conv(maps)), 3 x 3 of stride 2: (b, h, w, c) -> (b, h / 2, w / 2, features).

    Half of an odd number is rounded up.
    """

    features: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        maps = nn.Conv(
            self.features,
            (3, 3),
            strides=2,
            padding=1,
            kernel_init=layers.torch_kernel_init,
            bias_init=layers.torch_bias_init(9 * maps.shape[-1]),
            dtype=self.dtype,
            name="conv",
        )(maps)
        return layers.LayerNorm(dtype=self.dtype, name="norm")(maps)


class VSSBlock(nn.Module):
    """Mixing by SS2D and an MLP, each with a skip: (b, h, w, c) -> (b, h, w, c)."""

    inner_dim: int
    rank: int
    state_dim: int
    conv_bias: bool
    dropout: float
    hidden_dim: int
    mlp_dropout: float
    drop_path: float
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> jax.Array:
        norm = functools.partial(layers.LayerNorm, dtype=self.dtype)
        linear = functools.partial(_Linear, dtype=self.dtype)
        projection = functools.partial(linear, use_bias=False)
        drop = layers.Dropout(self.dropout, deterministic=not train)
        whole = layers.Dropout(self.drop_path, (1, 2, 3), deterministic=not train)

        mixed = projection(self.inner_dim, name="in_proj")(norm(name="norm")(maps))
        mixed = nn.silu(DepthwiseConv(self.conv_bias, name="conv")(mixed))
        mixed = SS2D(self.rank, self.state_dim, self.dtype, name="ss2d")(mixed)
        mixed = norm(name="out_norm")(mixed)
        mixed = drop(projection(maps.shape[-1], name="out_proj")(mixed))
        maps += whole(mixed)
        mlp = layers.MLP(self.hidden_dim, self.mlp_dropout, linear, name="mlp")
        return maps + whole(mlp(norm(name="norm2")(maps), train))


class DepthwiseConv(nn.Module):
    """3 x 3, every channel alone: (b, h, w, d) -> (b, h, w, d)."""

    use_bias: bool

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        shape = (3, 3, 1, maps.shape[-1])
        kernel = self.param("kernel", layers.torch_kernel_init, shape)
        maps = depthwise_convolution(maps, kernel)
        if self.use_bias:
            bias = self.param("bias", layers.torch_bias_init(9), shape[-1:])
            maps += bias.astype(maps.dtype)
        return maps


class SS2D(nn.Module):
    """The selective scan of a map along its four paths: (b, h, w, d) -> (b, h, w, d).

    The recurrence is float32, and so is the output.
    """

    rank: int
    state_dim: int
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        batch, height, width, dim = maps.shape
        sizes = (self.rank, self.state_dim, self.state_dim)
        kernel = self.param(
            "x_proj", layers.torch_bias_init(dim), (dim, PATHS, sum(sizes))
        ).astype(self.dtype)
        # Few numbers, which the scan takes as float32.
        rows, kernel = maps.reshape(-1, dim), kernel.reshape(dim, -1)
        projected = affine(rows, kernel, exact=True)
        projected = projected.reshape(batch, height, width, PATHS, -1)
        projected = cross_scan(jnp.moveaxis(projected, 3, 0))  # (k, b, l, r + 2 n)
        step, B, C = jnp.split(projected, np.cumsum(sizes[:2]), axis=-1)

        shape = (PATHS, self.rank, dim)
        kernel = self.param("dt_kernel", layers.torch_bias_init(self.rank), shape)
        bias = self.param("dt_bias", step_bias_init, (PATHS, dim))
        step = wide_product(
            "kblr,krd->kbld", step.astype(self.dtype), kernel.astype(self.dtype)
        )
        delta = jax.nn.softplus(step + bias[:, None, None])
        A_log = self.param("A_log", rate_init, (PATHS, dim, self.state_dim))
        D = self.param("D", nn.initializers.ones, (PATHS, dim))
        outputs = selective_scan(cross_scan(maps), delta, -jnp.exp(A_log), B, C, D)
        return cross_merge(outputs, height, width)


def step_bias_init(
    key: jax.Array, shape: tuple, dtype: DType = jnp.float32
) -> jax.Array:
    """Draw what softplus takes to steps, log-uniform between two sizes."""
    low, high = map(math.log, _STEPS)
    steps = jnp.exp(jax.random.uniform(key, shape, dtype, low, high))
    return steps + jnp.log(-jnp.expm1(-steps))


def rate_init(key: jax.Array, shape: tuple, dtype: DType = jnp.float32) -> jax.Array:
    """Return the log of 1, 2, ... over the states, the last axis."""
    return jnp.broadcast_to(jnp.log(jnp.arange(1, shape[-1] + 1, dtype=dtype)), shape)
