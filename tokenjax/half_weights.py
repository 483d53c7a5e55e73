"""Weights that a program reads in half precision alone, kept so.

Parameters are float32, and a model in half precision rounds them at every call: of a
ViT-B 344 MB are read and 172 MB written, and read again, 4 % of the kernels of a batch
of 64 on an H200 and more of a single image's. Rounded once beforehand, the program
computes the same bits. That is right only for a weight that the program reads in no
other way, which its jaxpr tells.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from jax.typing import DTypeLike

Weights = TypeVar("Weights")
# What a weight is turned into at each place where it is read; None: read as it is.
Reading: TypeAlias = DTypeLike | None
# Calls whose arguments are their function's own, one by one.
_CALLS = ("jit", "pjit", "closed_call", "remat2", "checkpoint", "custom_jvp_call")
_HALF = (jnp.bfloat16, jnp.float16)


def keep(
    function: Callable[..., object], weights: Weights, *arguments: object
) -> Weights:
    """Return the weights, those rounded that `function` reads rounded and not else.

    Args:
      function: of (weights, *arguments); only traced.
      weights: a tree of arrays.
      arguments: trees of arrays or of `jax.ShapeDtypeStruct`.
    """
    jaxpr = jax.make_jaxpr(function)(weights, *arguments).jaxpr
    leaves, tree = jax.tree.flatten(weights)
    read = _readings(jaxpr)
    rounded = [
        _rounded(leaf, read.get(variable, []))
        for leaf, variable in zip(leaves, jaxpr.invars, strict=False)
    ]
    return jax.tree.unflatten(tree, rounded)


def _rounded(leaf: jax.Array, readings: list[Reading]) -> jax.Array:
    """Return a weight in the half type that all its readings turn it into, if any."""
    kinds = {None if kind is None else jnp.dtype(kind) for kind in readings}
    if len(kinds) != 1:
        return leaf
    (kind,) = kinds
    return leaf.astype(kind) if kind in _HALF else leaf


def _readings(jaxpr: Jaxpr) -> dict[Var, list[Reading]]:
    """Return for each variable of a program how its equations read it."""
    found: dict[Var, list[Reading]] = {}
    for equation in jaxpr.eqns:
        for variable, readings in _read_by(equation):
            found.setdefault(variable, []).extend(readings)
    for output in jaxpr.outvars:
        if isinstance(output, Var):
            found.setdefault(output, []).append(None)
    return found


def _read_by(equation: JaxprEqn) -> Iterator[tuple[Var, list[Reading]]]:
    """Find each variable that an equation reads, and how."""
    name, functions = equation.primitive.name, _functions(equation)
    within = [_readings(function) for function in functions]
    own = len(equation.invars) - len(functions[0].invars) if functions else 0
    for index, variable in enumerate(equation.invars):
        if isinstance(variable, Literal):
            continue
        if functions and index >= own:
            yield (
                variable,
                [
                    reading
                    for function, read in zip(functions, within, strict=True)
                    for reading in read.get(function.invars[index - own], [])
                ],
            )
        elif name == "convert_element_type":
            yield variable, [equation.params["new_dtype"]]
        else:
            yield variable, [None]


def _functions(equation: JaxprEqn) -> list[Jaxpr]:
    """Return the functions that an equation calls with its own last arguments.

    Those are all arguments of a call, and all but the first, the index, of a switch.
    """
    if equation.primitive.name == "cond":
        return [branch.jaxpr for branch in equation.params["branches"]]
    if equation.primitive.name not in _CALLS:
        return []
    for value in equation.params.values():
        if isinstance(value, Jaxpr | ClosedJaxpr):
            jaxpr = value.jaxpr if isinstance(value, ClosedJaxpr) else value
            if len(jaxpr.invars) == len(equation.invars):
                return [jaxpr]
    return []
