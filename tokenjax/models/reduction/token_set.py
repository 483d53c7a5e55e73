"""A reducer's input and output: tokens, and an account of them.

Axes: batch b, tokens now n, patch tokens now m, tokens after k, tokens at first
(protected and all patches) a, patches of the image p, dim c.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from tokenjax.ops import token_merging, token_selection
from tokenjax.ops.token_merging import MergePlan


class TokenSet(flax.struct.PyTreeNode):
    """The tokens between two steps of an encoder.

    Attributes:
      tokens: (b, n, c), the protected first.
      protected: how many lead that no reducer may touch: class token, distillation
        token, registers.
      source_map: (b, a) int32, which token now holds what each token at first was; -1
        if it was dropped.
      sizes: (b, n) float32, how many tokens at first each stands for; None: one.
      keep: (b, n), 1 for tokens that are there, 0 for those that are only marked as
        dropped (masked execution, training); None: all are there.
      memory: what a method carries from one of its places to the next.
    """

    tokens: jax.Array
    source_map: jax.Array
    protected: int = flax.struct.field(pytree_node=False, default=1)
    sizes: jax.Array | None = None
    keep: jax.Array | None = None
    memory: Any = None

    @classmethod
    def start(cls, tokens: jax.Array, protected: int) -> "TokenSet":
        """Return the set of an encoder's first tokens (b, a, c)."""
        batch, count, _ = tokens.shape
        positions = jnp.arange(count, dtype=jnp.int32)
        source_map = jnp.broadcast_to(positions, (batch, count))
        return cls(tokens, source_map, protected)

    @property
    def patches(self) -> jax.Array:
        """Return the tokens (b, n - protected, c) that may be reduced."""
        return self.tokens[:, self.protected :]

    @property
    def patch_map(self) -> jax.Array:
        """Return for each patch of the image the token that holds it, (b, p), or -1."""
        return self.source_map[:, self.protected :]

    def present(self) -> jax.Array:
        """Mark the patches (b, p) float32 that some token still holds."""
        return (self.patch_map >= 0).astype(jnp.float32)

    def mean_patch(self) -> jax.Array:
        """Average the patch tokens: (b, c).

        Each counts by its size, and one that is only marked as dropped not at all.
        """
        weights = jnp.ones(self.tokens.shape[:2], jnp.float32)
        for each in (self.sizes, self.keep):
            if each is not None:
                weights *= each
        weights = weights[:, self.protected :]
        total = weights.sum(axis=1, keepdims=True)
        shares = weights / jnp.where(total == 0, 1, total)  # 0 if all are dropped
        return (shares[..., None] * self.patches).sum(axis=1)

    def restore(self, values: jax.Array) -> jax.Array:
        """Give every patch of the image its token's value, 0 if there is none.

        (b, n, c) -> (b, p, c).
        """
        return token_merging.restore_tokens(values, self.patch_map)

    def count_held(self) -> jax.Array:
        """Count by the map the tokens at first that each stands for: (b, n)."""
        outputs = jnp.arange(self.tokens.shape[1], dtype=jnp.int32)
        held = self.source_map[:, :, None] == outputs  # (b, a, n)
        return held.sum(axis=1).astype(jnp.float32)


class Reduction(NamedTuple):
    """An account of one reducer's work.

    Attributes:
      map: (b, n) int32, the output that each token went to, -1 if it was dropped.
      scores: (b, n - protected), how much each was wanted, where the method has that.
      losses: what training should make small, by name, each ().
      more: what else there is to see, by name.
    """

    map: jax.Array
    scores: jax.Array | None = None
    losses: Mapping[str, jax.Array] = {}
    more: Mapping[str, jax.Array] = {}


def merge_set(token_set: TokenSet, plan: MergePlan) -> tuple[TokenSet, jax.Array]:
    """Apply a plan that merges; tokens weigh by their sizes.

    Returns: what is left, and the plan's map (b, n).
    """
    sizes = token_set.sizes
    if plan.merged is None:
        return select_set(token_set, plan.kept)
    tokens, sizes = token_merging.merge_tokens(plan, token_set.tokens, sizes)
    return move_set(token_set, plan, tokens=tokens, sizes=sizes)


def select_set(token_set: TokenSet, kept: jax.Array) -> tuple[TokenSet, jax.Array]:
    """Keep the tokens at `kept` (b, k), the protected ones included, in that order.

    Returns: what is left, and the map (b, n).
    """
    plan = MergePlan(kept)
    changes = {"tokens": token_merging.add_up(plan, token_set.tokens)}
    if token_set.sizes is not None:
        changes["sizes"] = token_merging.add_up(plan, token_set.sizes)
    return move_set(token_set, plan, **changes)


def select_patches(token_set: TokenSet, kept: jax.Array) -> tuple[TokenSet, jax.Array]:
    """Keep the protected tokens, and the patch tokens at `kept` (b, k), from 0.

    Returns: what is left, and the map (b, n).
    """
    indices = token_selection.lead_with_protected(kept, token_set.protected)
    return select_set(token_set, indices)


def leave_out(token_set: TokenSet, key: jax.Array, share: float) -> TokenSet:
    """Drop a random share of each image's patch tokens; of all images as many."""
    batch, count, _ = token_set.patches.shape
    kept = token_selection.draw_indices(key, batch, count, share)
    return select_patches(token_set, kept)[0]


def fuse_patches(
    token_set: TokenSet, order: jax.Array, count: int, weights: jax.Array
) -> tuple[TokenSet, jax.Array]:
    """Keep the protected tokens and `count` patch tokens, and fuse the others.

    The fused token, the last, is the sum of w_j x_j over the others.

    Args:
      token_set: without sizes, all tokens being there.
      order: (b, m) int32, all patch tokens from 0, those that stay first.
      count: how many stay, fewer than m.
      weights: w (b, m); the gradient goes through them.

    Returns: what is left, and the map (b, n).
    """
    # "begins" with one of the fused, as every output does; the sum replaces it
    begin, joining = order[:, : count + 1], order[:, count + 1 :]
    lead = token_set.protected
    plan = MergePlan(
        token_selection.lead_with_protected(begin, lead),
        joining + lead,
        jnp.full_like(joining, lead + count),
    )
    kept = token_merging.add_up(MergePlan(plan.kept[:, :-1]), token_set.tokens)
    others = order[:, count:]
    fused = token_selection.fuse_dropped(
        token_selection.gather_tokens(token_set.patches, others),
        token_selection.gather_tokens(weights, others),
        jnp.zeros(others.shape),
    )
    tokens = jnp.concatenate([kept, fused], axis=1)
    return move_set(token_set, plan, tokens=tokens)


def mark_patches(token_set: TokenSet, keep: jax.Array) -> tuple[TokenSet, jax.Array]:
    """Mark the patch tokens that are there by 1 in `keep` (b, m), drop no token.

    Returns: the same tokens, and the map (b, n).
    """
    keep = _pad(token_set, keep, 1)  # (b, n)
    positions = jnp.arange(keep.shape[1], dtype=jnp.int32)
    step = jnp.where(keep > 0, positions, -1)
    return _marked(token_set, keep, step), step


def mark_fused(
    token_set: TokenSet, keep: jax.Array, gone: jax.Array, weights: jax.Array
) -> tuple[TokenSet, jax.Array]:
    """Mark the patch tokens that stay, and fuse those that go; drop no token.

    The fused token, as in `fuse_patches`, takes the place of the first that goes.

    Args:
      token_set: without sizes.
      keep: (b, m), 1 for those that stay.
      gone: (b, m), 1 for those that go now; where there are none no token is fused.
      weights: w (b, m); the gradient goes through them.

    Returns: what is left, and the map (b, n).
    """
    first = gone * (jnp.cumsum(gone, axis=1) == 1)  # (b, m), 1 at the fused token
    fused = token_selection.fuse_dropped(token_set.patches, weights, 1 - gone)
    here = _pad(token_set, first, 0)[..., None] > 0  # (b, n, 1)
    token_set = token_set.replace(tokens=jnp.where(here, fused, token_set.tokens))
    keep = _pad(token_set, keep + first, 1)  # (b, n)
    positions = jnp.arange(keep.shape[1], dtype=jnp.int32)
    goal = token_set.protected + first.argmax(axis=1, keepdims=True).astype(jnp.int32)
    step = jnp.where(keep > 0, positions, -1)
    step = jnp.where(_pad(token_set, gone, 0) > 0, goal, step)
    return _marked(token_set, keep, step), step


def _pad(token_set: TokenSet, values: jax.Array, lead: int) -> jax.Array:
    """Give the protected tokens the value `lead`: (b, m) -> (b, n)."""
    width = ((0, 0), (token_set.protected, 0))
    return jnp.pad(values, width, constant_values=lead)


def _marked(token_set: TokenSet, keep: jax.Array, step: jax.Array) -> TokenSet:
    source_map = token_merging.compose_maps(token_set.source_map, step)
    return token_set.replace(keep=keep, source_map=source_map)


def move_set(
    token_set: TokenSet, plan: MergePlan, **changes: Any
) -> tuple[TokenSet, jax.Array]:
    """Set what a plan made of tokens and sizes, and bring the account up to date.

    Returns: what is left, and the map (b, n).
    """
    step = token_merging.find_outputs(plan, token_set.tokens.shape[1])
    if token_set.keep is not None:
        changes["keep"] = token_merging.add_up(MergePlan(plan.kept), token_set.keep)
    source_map = token_merging.compose_maps(token_set.source_map, step)
    return token_set.replace(source_map=source_map, **changes), step
