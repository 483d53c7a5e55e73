"""Plans that make fewer tokens of many, and what applies them.

A plan says for every output which input token it begins with, and which other tokens
are added to it:

    out_j = in[kept_j] + sum of in[merged_i] over the i with receivers_i = j

so selection is a plan that merges nothing, and a merge weighs by sizes before and
divides by them after. A token that is neither kept nor merged is dropped. Applying is a
gather and a product with a 0/1 matrix, never a scatter.

The map of a plan (b, n) int32 says for every input the output that it went to, -1 if it
was dropped; maps of plans one after another compose.

Axes: batch b, tokens in n, tokens out k, merged r, dim c.

Source: Bolya et al. 2023 (arXiv 2210.09461), section 3; the plan as data is ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tokenjax.ops import token_selection


class MergePlan(NamedTuple):
    """Which tokens begin the outputs, and which are added to them."""

    kept: jax.Array  # (b, k) int32, an input each
    merged: jax.Array | None = None  # (b, r) int32, inputs; None: nothing is merged
    receivers: jax.Array | None = None  # (b, r) int32, an output each


def add_up(plan: MergePlan, values: jax.Array) -> jax.Array:
    """Sum values (b, n, ...) of the tokens that go together: (b, k, ...)."""
    outputs = token_selection.gather_tokens(values, plan.kept)
    if plan.merged is None:
        return outputs
    assert plan.receivers is not None
    merged = token_selection.gather_tokens(values, plan.merged)  # (b, r, ...)
    into = jax.nn.one_hot(plan.receivers, plan.kept.shape[1], dtype=values.dtype)
    return outputs + jnp.einsum("brk,br...->bk...", into, merged)


def merge_tokens(
    plan: MergePlan, tokens: jax.Array, sizes: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Average the tokens that go together, weighed by how many patches each stands for.

    Args:
      plan: for n tokens.
      tokens: (b, n, c).
      sizes: (b, n) float32; None: all 1.

    Returns: tokens (b, k, c), and sizes (b, k) float32, the sums.
    """
    if sizes is None:
        sizes = jnp.ones(tokens.shape[:2], jnp.float32)
    total = add_up(plan, sizes)
    weighted = add_up(plan, tokens * sizes[..., None].astype(tokens.dtype))
    return weighted / total[..., None].astype(tokens.dtype), total


def find_outputs(plan: MergePlan, num_tokens: int) -> jax.Array:
    """Return the plan's map (b, num_tokens), see the module."""
    outputs = jnp.arange(plan.kept.shape[1], dtype=jnp.int32)
    found = _place(plan.kept, jnp.broadcast_to(outputs, plan.kept.shape), num_tokens)
    if plan.merged is None:
        return found
    assert plan.receivers is not None
    return jnp.maximum(found, _place(plan.merged, plan.receivers, num_tokens))


def compose_maps(first: jax.Array, then: jax.Array) -> jax.Array:
    """Return the map of one step after another.

    Args:
      first: (b, n), outputs of the first step, or -1.
      then: (b, k), where those went.

    Returns: (b, n), -1 for what either step dropped.
    """
    went = token_selection.gather_tokens(then, jnp.maximum(first, 0))
    return jnp.where(first < 0, -1, went)


def restore_tokens(tokens: jax.Array, source_map: jax.Array) -> jax.Array:
    """Give every input its output's token, (b, k, c) -> (b, n, c); 0 if dropped."""
    found = token_selection.gather_tokens(tokens, jnp.maximum(source_map, 0))
    return jnp.where((source_map >= 0)[..., None], found, 0)


def _place(indices: jax.Array, values: jax.Array, num_tokens: int) -> jax.Array:
    """Return (b, num_tokens) with values >= 0 at the indices (b, r), else -1."""
    same = indices[:, :, None] == jnp.arange(num_tokens)  # (b, r, n)
    return jnp.where(same, values[:, :, None], -1).max(axis=1).astype(jnp.int32)
