"""Floating-point operations of a JAX function, counted on its jaxpr.

A multiply-add is two FLOPs; multiply-adds (MACs) are half the count. Counted are the
products that make up the work of a vision model:

    dot_general           2 * output elements * contracted elements
    conv_general_dilated  2 * output elements * kernel taps * input channels per group
    ragged_dot_general    2 * rows * contracted * output columns, each row in one group
    dot_product_attention two products of queries by keys, four for their gradients

cuDNN's attention counts as the products that it stands for, with a token more where it
was given one (`ops.fused_attention`), and without what it computes twice.
Element-wise work, softmax, normalisation, pooling and top-k count nothing. A SAME
convolution counts its taps on padding too, as papers do (XLA's own analysis does not);
zeros between the inputs of a transposed convolution are not counted. What cannot reach
the outputs is removed first, as XLA removes it.

Control flow: scan multiplies by its length, cond and switch count the dearest branch,
pallas_call multiplies its body by the grid, functions with their own derivative count
the function and not its rules. A while loop raises, unless nothing in it is counted.
"""

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import cast

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from jax.interpreters import partial_eval

# What every table says under its FLOPs; the originals' own mix this with half of it.
CONVENTION = "FLOPs: 2 per multiply-add, per image, products and convolutions only"


@dataclasses.dataclass(frozen=True)
class Flops:
    """A count: FLOPs in all, and the part of each primitive."""

    total: int
    by_primitive: dict[str, int]


def count_flops(function: Callable[..., object], *args: object) -> int:
    """Count the FLOPs of a call; `args` may be trees of `jax.ShapeDtypeStruct`.

    Raises:
      ValueError: a loop whose trip count is not known before it runs.
    """
    return flops_by_primitive(function, *args).total


def flops_by_primitive(function: Callable[..., object], *args: object) -> Flops:
    """Count as `count_flops` does, with the breakdown by primitive."""
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    live, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    counts = _count(live)
    return Flops(counts.total(), dict(counts))


def _count(jaxpr: Jaxpr | ClosedJaxpr) -> Counter[str]:
    """Count what is in a jaxpr, open or closed, and of everything nested in it."""
    counts: Counter[str] = Counter()
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        counts.update(_count_equation(equation))
    return counts


def _count_equation(equation: JaxprEqn) -> Counter[str]:
    name, params = equation.primitive.name, equation.params
    if name in _PRODUCTS:
        return Counter({name: 2 * _PRODUCTS[name](equation)})
    if name == "scan":
        return _scaled(_count(params["jaxpr"]), params["length"])
    if name == "cond":
        return max(map(_count, params["branches"]), key=Counter.total)
    if name == "while":
        return _count_while(params)
    if name == "pallas_call":
        return _scaled(_count(params["jaxpr"]), _grid_size(params))
    nested: Counter[str] = Counter()  # jit, remat, custom_jvp, custom_vjp, shard_map
    for value in params.values():
        if isinstance(value, Jaxpr | ClosedJaxpr):
            nested.update(_count(value))
    return _scaled(nested, _shards(params) if name == "shard_map" else 1)


def _dot_macs(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    return _size(equation.outvars[0]) * _size(equation.invars[0], contracted)


def _convolution_macs(equation: JaxprEqn) -> int:
    """Count a convolution; the kernel's input channels are those of one group."""
    params = equation.params
    features = params["dimension_numbers"].rhs_spec[0]
    taps = _size(equation.invars[1]) // _shape(equation.invars[1])[features]
    macs = _size(equation.outvars[0]) * taps
    return macs // math.prod(params["lhs_dilation"])


def _ragged_dot_macs(equation: JaxprEqn) -> int:
    """Count each left row with the one group that it meets."""
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (_, contracted), (_, batch) = numbers.dot_dimension_numbers
    shared = {*contracted, *batch, *numbers.rhs_group_dimensions}
    right = equation.invars[1]
    free = [axis for axis in range(len(_shape(right))) if axis not in shared]
    return _size(equation.invars[0]) * _size(right, free)


def _attention_macs(products: int, equation: JaxprEqn) -> int:
    """Count a fused attention of (b, q, h, d) and (b, k, h, d), or heads first."""
    heads_first = equation.params["layout"] == 1
    keys = _shape(equation.invars[1])[2 if heads_first else 1]
    return products * _size(equation.invars[0]) * keys


_PRODUCTS: dict[str, Callable[[JaxprEqn], int]] = {
    "dot_general": _dot_macs,
    "conv_general_dilated": _convolution_macs,
    "ragged_dot_general": _ragged_dot_macs,
    "ragged_dot": _ragged_dot_macs,
    "dot_product_attention_fwd_wrapper": functools.partial(_attention_macs, 2),
    "dot_product_attention_bwd_wrapper": functools.partial(_attention_macs, 4),
}


def _count_while(params: dict) -> Counter[str]:
    body = _count(params["body_jaxpr"]) + _count(params["cond_jaxpr"])
    if body:
        raise ValueError(
            "cannot count a while loop: its trip count is unknown before it runs; "
            "use lax.scan, or lax.fori_loop with bounds that are Python integers"
        )
    return body


def _grid_size(params: dict) -> int:
    grid = params["grid_mapping"].grid
    if not all(isinstance(extent, int) for extent in grid):
        raise ValueError(
            f"cannot count a pallas_call whose grid is only known at run time: {grid}"
        )
    return math.prod(grid)


def _shards(params: dict) -> int:
    """Return how often a shard_map runs its body: on each device of its axes."""
    shape = dict(params["mesh"].shape)
    return math.prod(shape[axis] for axis in params["newly_manual_axes"])


def _scaled(counts: Counter[str], factor: int) -> Counter[str]:
    return Counter({name: factor * count for name, count in counts.items()})


def _size(variable: Var | Literal, axes: Iterable[int] | None = None) -> int:
    shape = _shape(variable)
    return math.prod(shape if axes is None else (shape[axis] for axis in axes))


def _shape(variable: Var | Literal) -> tuple[int, ...]:
    return cast(jax.core.ShapedArray, variable.aval).shape
