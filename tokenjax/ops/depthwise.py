"""Depthwise convolution: every channel with a small kernel of its own.

    y[i, j, c] = sum_(u, v) x[s i + u - top, s j + v - left, c] K[u, v, 0, c]

with stride s, the map counting as zero outside itself, padded as "SAME" does: outputs
are ceil(inputs / s) along an axis, and what is missing is shared out, the odd one after
(odd kernels at stride 1: evenly). XLA's convolution with as many groups as channels is
slow on CPU. There the same sum is taken over shifted views of the map, which become one
loop over the channels, and the gradient of the kernel is gathered place by place:

    dK[u, v, 0, c] += x[s i + u - top, s j + v - left, c] dy[i, j, c]   for all (i, j)

The program is chosen by the platform it is compiled for; the CPU's sums are in float32.
Reverse-mode derivatives only.

Axes: batch b, map h, w (H, W of the outputs), channels c, side k of the kernel. Two CPU
cores, side 7, float32, milliseconds (convolution -> here), forward, and with gradients:
(1, 56, 56, 96) 22.6 -> 0.7, 108 -> 8; (1, 14, 14, 384) 5.2 -> 0.5, 127 -> 2;
(8, 56, 56, 96) 214 -> 15, 914 -> 105; (8, 14, 14, 384) 58 -> 3, 479 -> 31.
"""

import functools

import jax
import jax.numpy as jnp

Arrays = tuple[jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_convolution(
    maps: jax.Array, kernel: jax.Array, stride: int = 1
) -> jax.Array:
    """Convolve (b, h, w, c) by (k, k, 1, c) to (b, H, W, c), in the map's type.

    Raises: ValueError unless the kernel is square and of the map's channels.
    """
    side, channels = kernel.shape[0], maps.shape[-1]
    if maps.ndim != 4 or kernel.shape != (side, side, 1, channels):
        raise ValueError(
            "a depthwise convolution takes maps (b, h, w, c) and a kernel "
            f"(k, k, 1, c); got {tuple(maps.shape)} and {tuple(kernel.shape)}"
        )
    return jax.lax.platform_dependent(
        maps,
        kernel,
        cpu=functools.partial(_by_shifts, stride=stride),
        default=functools.partial(_by_convolution, stride=stride),
    )


def _forward(
    maps: jax.Array, kernel: jax.Array, stride: int
) -> tuple[jax.Array, Arrays]:
    return depthwise_convolution(maps, kernel, stride), (maps, kernel)


def _backward(stride: int, saved: Arrays, gradient: jax.Array) -> Arrays:
    return jax.lax.platform_dependent(
        *saved,
        gradient,
        cpu=functools.partial(_gradients_by_shifts, stride=stride),
        default=functools.partial(_gradients_by_convolution, stride=stride),
    )


depthwise_convolution.defvjp(_forward, _backward)


def _by_convolution(maps: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        maps,
        kernel.astype(maps.dtype),
        (stride, stride),
        "SAME",
        feature_group_count=maps.shape[-1],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _gradients_by_convolution(
    maps: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int
) -> Arrays:
    function = functools.partial(_by_convolution, stride=stride)
    _, pull_back = jax.vjp(function, maps, kernel)
    return pull_back(gradient)


def _by_shifts(maps: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    padded = _pad(maps, len(kernel), stride)
    return _sum_of_shifts(padded, kernel, stride).astype(maps.dtype)


def _gradients_by_shifts(
    maps: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int
) -> Arrays:
    side, (height, width) = len(kernel), gradient.shape[1:3]
    channels = maps.shape[-1]
    padded = _pad(maps, side, stride)
    gradient = gradient.astype(jnp.float32)
    places = gradient.reshape(-1, channels)  # (b H W, c)

    def add_place(place: jax.Array, total: jax.Array) -> jax.Array:
        image, rest = place // (height * width), place % (height * width)
        start = (image, rest // width * stride, rest % width * stride, 0)
        around = jax.lax.dynamic_slice(padded, start, (1, side, side, channels))
        return total + around[0] * places[place]

    nothing = jnp.zeros((side, side, channels), jnp.float32)
    of_kernel = jax.lax.fori_loop(0, len(places), add_place, nothing)
    # Between the gradients of a convolution that steps, zeros for what it skipped.
    spread = [(0, 0, 0)]
    for size, outputs in zip(maps.shape[1:3], gradient.shape[1:3], strict=True):
        before, _ = _padding(size, side, stride)
        after = size + before - ((outputs - 1) * stride + 1)
        spread.append((side - 1 - before, after, stride - 1))
    spread_gradient = jax.lax.pad(gradient, jnp.float32(0), [*spread, (0, 0, 0)])
    of_maps = _sum_of_shifts(spread_gradient, kernel[::-1, ::-1], 1)
    return of_maps.astype(maps.dtype), of_kernel[:, :, None].astype(kernel.dtype)


def _sum_of_shifts(padded: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolve an already padded map, without padding, in float32."""
    side = len(kernel)
    rows, columns = (size - side + 1 for size in padded.shape[1:3])
    taps = kernel[:, :, 0].astype(jnp.float32)  # (k, k, c)
    total = jnp.zeros((), jnp.float32)
    for row in range(side):
        for column in range(side):
            shifted = padded[
                :, row : row + rows : stride, column : column + columns : stride
            ]
            total += shifted * taps[row, column]
    return total


def _pad(maps: jax.Array, side: int, stride: int) -> jax.Array:
    """Return the map in float32 with the zeros around it that a kernel reaches."""
    rows, columns = (_padding(size, side, stride) for size in maps.shape[1:3])
    return jnp.pad(maps.astype(jnp.float32), ((0, 0), rows, columns, (0, 0)))


def _padding(size: int, side: int, stride: int) -> tuple[int, int]:
    """Return how many zeros stand before and after an axis."""
    outputs = -(-size // stride)
    missing = max((outputs - 1) * stride + side - size, 0)
    return missing // 2, missing - missing // 2
