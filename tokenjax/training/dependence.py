"""Which parameters a loss depends on, and steps that leave the others as they are.

In PyTorch a parameter that a loss does not depend on has no gradient, and no update
rule touches it: it neither decays nor has moments. Here its gradient is an array of
zeros like any other. Whether a loss depends on a parameter is a matter of its formula,
not of a value: a gradient that happens to be 0 is one, and what has it decays.

JAX knows while it differentiates: what nothing was handed back for is a `SymbolicZero`
then. This catches what is not used, or only through `stop_gradient`, a comparison or an
index. It costs nothing: the program that is traced is that of `jax.value_and_grad`.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero

Result = TypeVar("Result")
Reached: TypeAlias = tuple[bool, ...]  # of each leaf, in the order of the tree


@flax.struct.dataclass
class Slope:
    """A gradient, and which of its leaves are one."""

    gradients: optax.Updates
    reached: Reached = flax.struct.field(pytree_node=False)


def differentiate(
    loss: Callable[[optax.Params], tuple[jax.Array, Result]], params: optax.Params
) -> tuple[tuple[jax.Array, Result], Slope]:
    """Return what `jax.value_and_grad(loss, has_aux=True)` does, and what is reached.

    To be traced: which leaves are reached is known when this has returned.
    """
    handed_back: list[Reached] = []

    @jax.custom_vjp
    def watched(leaves: list[jax.Array]) -> list[jax.Array]:
        return leaves

    def forward(leaves: list[CustomVJPPrimal]) -> tuple[list[jax.Array], None]:
        return [leaf.value for leaf in leaves], None

    def backward(_: None, cotangents: list[Any]) -> tuple[list[jax.Array | None]]:
        reached = tuple(not isinstance(each, SymbolicZero) for each in cotangents)
        handed_back.append(reached)
        pairs = zip(cotangents, reached, strict=True)
        return ([each if is_one else None for each, is_one in pairs],)

    watched.defvjp(forward, backward, symbolic_zeros=True)
    leaves, tree = jax.tree.flatten(params)

    def of_leaves(leaves: list[jax.Array]) -> tuple[jax.Array, Result]:
        return loss(jax.tree.unflatten(tree, watched(leaves)))

    found, gradients = jax.value_and_grad(of_leaves, has_aux=True)(leaves)
    # Of a loss that depends on no parameter nothing is handed back at all.
    reached = tuple(map(any, zip(*handed_back, strict=True)))
    reached = reached or (False,) * len(leaves)
    return found, Slope(jax.tree.unflatten(tree, gradients), reached)


def update_reached(
    optimizer: optax.GradientTransformation,
    slope: Slope,
    state: optax.OptState,
    params: optax.Params,
) -> tuple[optax.Updates, optax.OptState]:
    """Return the rule's updates and its state, with updates of 0 of the unreached.

    The rule is shown zeros in their place, so that no moment gathers what would decay;
    its state has the structure that it always has.
    """
    if all(slope.reached):
        return optimizer.update(slope.gradients, state, params)
    shown = _with_zeros(params, slope.reached)
    updates, state = optimizer.update(slope.gradients, state, shown)
    return _with_zeros(updates, slope.reached), state


def _with_zeros(tree: optax.Params, reached: Reached) -> optax.Params:
    leaves, structure = jax.tree.flatten(tree)
    pairs = zip(leaves, reached, strict=True)
    kept = [leaf if is_one else jnp.zeros_like(leaf) for leaf, is_one in pairs]
    return jax.tree.unflatten(structure, kept)
