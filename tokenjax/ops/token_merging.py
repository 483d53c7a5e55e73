"""Plans that make fewer tokens of many, and what applies them.

A plan says for every output which input token it begins with, and which other tokens
are joined to it:

    group j = {kept_j} and every merged_i with receivers_i = j

so selection is a plan that merges nothing. A token that is neither kept nor merged is
dropped. An output is the mean of its group, weighed by sizes (how many patches each
token stands for by now), or the sum, or the maximum. All are a gather and a product
with a 0/1 matrix: the sum of a group has one order on every device, which a scatter
that adds does not promise.

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
    """Which tokens begin the outputs, and which are joined to them."""

    kept: jax.Array  # (b, k) int32, an input each
    merged: jax.Array | None = None  # (b, r) int32, inputs; None: nothing is merged
    receivers: jax.Array | None = None  # (b, r) int32, an output each


def keep_all(batch: int, num_tokens: int) -> MergePlan:
    """Return the plan that leaves every token where it is."""
    positions = jnp.arange(num_tokens, dtype=jnp.int32)
    return MergePlan(jnp.broadcast_to(positions, (batch, num_tokens)))


def add_up(plan: MergePlan, values: jax.Array) -> jax.Array:
    """Sum values (b, n, ...) of the tokens that go together: (b, k, ...)."""
    outputs = token_selection.gather_tokens(values, plan.kept)
    if plan.merged is None:
        return outputs
    merged = token_selection.gather_tokens(values, plan.merged)  # (b, r, ...)
    return outputs + _send(_find_goals(plan).astype(values.dtype), merged)


def merge_tokens(
    plan: MergePlan, tokens: jax.Array, sizes: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Average the tokens that go together, weighed by how many patches each stands for.

    The mean is computed in float32. A token that nothing joins is left bit for bit.

    Args:
      plan: for n tokens.
      tokens: (b, n, c).
      sizes: (b, n) float32, above 0; None: all 1, which is the plain mean.

    Returns: tokens (b, k, c), and sizes (b, k) float32, the sums.
    """
    if sizes is None:
        sizes = jnp.ones(tokens.shape[:2], jnp.float32)
    begun = token_selection.gather_tokens(tokens, plan.kept)  # (b, k, c)
    own = token_selection.gather_tokens(sizes, plan.kept)  # (b, k)
    if plan.merged is None:
        return begun, own
    goals = _find_goals(plan)  # (b, r, k)
    joining = token_selection.gather_tokens(sizes, plan.merged)  # (b, r)
    total = own + _send(goals, joining)
    shares = goals * (joining[:, :, None] / total[:, None, :])
    joined = token_selection.gather_tokens(tokens, plan.merged)  # (b, r, c)
    mean = begun * (own / total)[..., None] + _send(shares, joined)
    return mean.astype(tokens.dtype), total


def take_largest(plan: MergePlan, values: jax.Array) -> jax.Array:
    """Take the maximum of the values (b, n, c) that go together: (b, k, c)."""
    outputs = token_selection.gather_tokens(values, plan.kept)
    if plan.merged is None:
        return outputs
    merged = token_selection.gather_tokens(values, plan.merged)  # (b, r, c)
    goals = _find_goals(plan)[..., None] > 0  # (b, r, k, 1)
    candidates = jnp.where(goals, merged[:, :, None], -jnp.inf)  # (b, r, k, c)
    return jnp.maximum(outputs, candidates.max(axis=1))


def find_outputs(plan: MergePlan, num_tokens: int) -> jax.Array:
    """Return the plan's map (b, num_tokens), see the module."""
    outputs = jnp.arange(plan.kept.shape[1], dtype=jnp.int32)
    went = jnp.broadcast_to(outputs, plan.kept.shape)
    inputs = plan.kept
    if plan.merged is not None:
        assert plan.receivers is not None
        inputs = jnp.concatenate([inputs, plan.merged], axis=1)
        went = jnp.concatenate([went, plan.receivers], axis=1)
    # Looking every input up in the plan would take n * n comparisons: at 1025 tokens
    # more than all else that a plan costs.
    dropped = jnp.full((inputs.shape[0], num_tokens), -1, jnp.int32)
    return dropped.at[jnp.arange(inputs.shape[0])[:, None], inputs].set(went)


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


def _find_goals(plan: MergePlan) -> jax.Array:
    """Return (b, r, k) float32, 1 where a merged token joins an output."""
    assert plan.receivers is not None
    return jax.nn.one_hot(plan.receivers, plan.kept.shape[1], dtype=jnp.float32)


def _send(goals: jax.Array, values: jax.Array) -> jax.Array:
    """Sum values (b, r, ...) at their goals (b, r, k): (b, k, ...)."""
    # "highest": a device's coarser product would round tokens that are only moved
    return jnp.einsum(
        "brk,br...->bk...", goals, values, precision=jax.lax.Precision.HIGHEST
    )
