"""Weights to measure with, made by numpy: nothing is compiled for them.

What a network is made of does not alter what it costs, but its order of magnitude may:
a router of zeros sends no patch. So each variable is of the distribution that `init`
draws it from, by other numbers; what `init` computes from no key is as it computes it.
To compile the draws themselves took longer than all the rest of a first row.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import numpy as np
from flax.typing import VariableDict
from jax.extend.core import JaxprEqn, Literal, Var

from tokenjax import initialization
from tokenjax.benchmark.random_arrays import RandomArrays

Values: TypeAlias = dict[Var, np.ndarray]


class _Unknown(Exception):
    """An equation that numpy is not taught here."""


def initialize(module: nn.Module, *example: object) -> VariableDict:
    """Make variables for a module that takes this example."""
    found = initialization.trace(module.init, jax.eval_shape(_make_key), *example)
    noise = RandomArrays(2)
    leaves: list[Any] = []
    for out in found.outputs:
        try:
            leaves.append(_draw(found, out, noise))
        except _Unknown:
            leaves.append(None)
    missing = [number for number, leaf in enumerate(leaves) if leaf is None]
    if missing:
        drawn = _draw_by_jax(module, missing, _make_key(), *example)
        for number, value in zip(missing, drawn, strict=True):
            leaves[number] = value
    return jax.block_until_ready(
        jax.device_put(jax.tree.unflatten(found.structure, leaves))
    )


def _make_key() -> jax.Array:
    return jax.random.key(0, impl="rbg")  # what is drawn by it compiles faster


def _draw_by_jax(
    module: nn.Module, numbers: Sequence[int], *arguments: object
) -> list[jax.Array]:
    """Return some of the variables that `init` makes, by their numbers."""
    init: Callable[..., object] = module.init
    init = initialization.draw_alike_together(init)

    def some(*arguments: object) -> list[jax.Array]:
        leaves = jax.tree.leaves(init(*arguments))
        return [leaves[number] for number in numbers]

    return jax.jit(some)(*arguments)


def _draw(
    found: initialization.Traced, out: Var | Literal, noise: RandomArrays
) -> np.ndarray:
    """Return a variable.

    Raises: _Unknown.
    """
    if isinstance(out, Literal):
        return np.asarray(out.val)
    values: Values = {v: np.asarray(value) for v, value in found.constants.items()}
    equations, _ = found.trace_back(out)
    for equation in equations:
        aval = equation.outvars[0].aval
        value = _evaluate(equation, values, noise)
        values[equation.outvars[0]] = np.asarray(value, aval.dtype)  # type: ignore[attr-defined]
    return np.ascontiguousarray(_value(out, values))  # a broadcast shares memory


def _evaluate(equation: JaxprEqn, values: Values, noise: RandomArrays) -> np.ndarray:
    """Return what an equation makes, or another draw of what it draws.

    Raises: _Unknown.
    """
    name, params = equation.primitive.name, equation.params
    shape = equation.outvars[0].aval.shape  # type: ignore[attr-defined]
    if name in ("jit", "pjit"):
        draw = _DRAWS.get(params["name"])
        if draw is None or not initialization.is_key(equation.invars[0]):
            raise _Unknown(params["name"])
        bounds = [_value(v, values) for v in equation.invars[1:]]
        return draw(noise, shape, *bounds)
    given = [_value(v, values) for v in equation.invars]
    if name in _BY_NUMBERS:
        return _BY_NUMBERS[name](*given)
    if name == "broadcast_in_dim":
        axes = [1] * len(shape)
        for axis, length in zip(
            params["broadcast_dimensions"], given[0].shape, strict=True
        ):
            axes[axis] = length
        return np.broadcast_to(given[0].reshape(axes), shape)
    if name == "iota":
        axes = [-1 if axis == params["dimension"] else 1 for axis in range(len(shape))]
        return np.broadcast_to(
            np.arange(shape[params["dimension"]]).reshape(axes), shape
        )
    if name in ("reshape", "squeeze", "convert_element_type", "copy"):
        return given[0].reshape(shape)
    raise _Unknown(name)


def _value(variable: Var | Literal, values: Values) -> np.ndarray:
    if isinstance(variable, Literal):
        return np.asarray(variable.val)
    if variable not in values:
        raise _Unknown(variable)
    return values[variable]


def _uniform(
    noise: RandomArrays, shape: Sequence[int], low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    return low + (high - low) * noise.uniform(shape)


# jax.random's functions by what their programs are called.
_DRAWS: dict[str, Callable[..., np.ndarray]] = {
    "_normal": RandomArrays.normal,
    "_uniform": _uniform,
    "_truncated_normal": RandomArrays.truncated_normal,
}
_BY_NUMBERS: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "max": np.maximum,
    "min": np.minimum,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
}
