"""Tokens in the order of a score: the best stay, the others go, or merge into the best.

    selection (Top-K, EViT)   [protected, the `count` best patches, best first]
    DiffRate's merge          of the tokens so ordered, those from `kept` on go each to
                              the first `kept`'s token that it is most like:

        x'_v = plain mean of x_v and those that go to it
        s'_v = s_v + sum_u s_u sim_u

with sim_u the cosine of u and its receiver, so sizes s are no whole numbers and may
shrink. Protected tokens (p of them, leading) receive nothing. Plans and cosines carry
no gradient.

Axes: batch b, tokens n, patches m = n - p, merged r, dim c.

Source: Liang et al. 2022 (arXiv 2202.07800); Chen et al. 2023 (arXiv 2305.17997), as
OpenGVLab/DiffRate computes it (which protects the class token alone).
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from tokenjax.ops import similarity, token_merging, token_selection
from tokenjax.ops.token_merging import MergePlan


def select_best(scores: jax.Array, count: int, num_protected: int = 1) -> MergePlan:
    """Plan to keep the protected tokens and the `count` best patches, best first.

    Args:
      scores: (b, m), of the patches.
      count: from 1 to m.
      num_protected: p.

    Returns: a plan for p + m tokens that drops the rest.
    """
    best = token_selection.rank_tokens(jax.lax.stop_gradient(scores), count)
    return MergePlan(token_selection.lead_with_protected(best, num_protected))


def merge_tail(
    order: jax.Array, tokens: jax.Array, kept: int, num_protected: int = 1
) -> tuple[MergePlan, jax.Array]:
    """Plan to merge the last tokens of an order into the first.

    Args:
      order: (b, k) int32, tokens, the best first (`select_best(...).kept`).
      tokens: (b, n, c), which are what is compared too.
      kept: tokens that stay, protected ones counted, between p + 1 and k - 1.
      num_protected: p.

    Returns: a plan for n tokens, and the cosines (b, k - kept) of the merged.
    """
    if not num_protected < kept < order.shape[1]:
        raise ValueError(
            f"cannot merge {order.shape[1]} tokens into {kept}, {num_protected} of"
            " them protected"
        )
    unit = similarity.unit_vectors(tokens)
    head, tail = order[:, :kept], order[:, kept:]
    cosines, to = similarity.find_most_similar(
        token_selection.gather_tokens(unit, tail),
        token_selection.gather_tokens(unit, head),
        num_protected,
    )
    return MergePlan(head, tail, to), cosines


def merge_plainly(
    plan: MergePlan, tokens: jax.Array, sizes: jax.Array | None, cosines: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Apply `merge_tail`'s plan and cosines to tokens (b, n, c) and sizes (b, n).

    Returns: tokens (b, kept, c), and sizes (b, kept) float32; see the module.
    """
    if sizes is None:
        sizes = jnp.ones(tokens.shape[:2], jnp.float32)
    means, _ = token_merging.merge_tokens(plan, tokens, None)
    assert plan.merged is not None
    assert plan.receivers is not None
    gather = token_selection.gather_tokens
    into = jax.nn.one_hot(plan.receivers, plan.kept.shape[1], dtype=sizes.dtype)
    joining = gather(sizes, plan.merged) * cosines  # (b, r)
    return means, gather(sizes, plan.kept) + jnp.einsum("brk,br->bk", into, joining)


def merge_tail_in_place(
    tokens: jax.Array,
    sizes: jax.Array,
    kept: ArrayLike,
    left: ArrayLike,
    num_protected: int = 1,
    least: float = 1.0,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Merge tokens kept ... left - 1 into the first `kept`, the shapes unchanged.

    Both counts may be traced numbers, so it serves a search for them. The first `kept`
    outputs are those of `merge_tail` and `merge_plainly`, but for `least`; what merged
    stays where it was, for a mask to hide, as does what follows it.

    Args:
      tokens: (b, n, c), the best first; they are what is compared as well.
      sizes: (b, n).
      kept: tokens that stay, protected ones counted, above p.
      left: tokens that take part; at most `kept` of them: nothing merges.
      num_protected: p.
      least: that every token counts for at least in the sums of sizes. The original's
        search has 1, and its inference no bound.

    Returns: tokens (b, n, c), sizes (b, n), and the token that each merged into, (b, n)
      int32, -1 for those that did not.
    """
    position = jnp.arange(tokens.shape[1])
    merging = (position >= kept) & (position < left)
    unit = similarity.unit_vectors(tokens)
    receiving = (position >= num_protected) & (position < kept)
    cosines = similarity.compare(unit, unit)
    cosines = jnp.where(receiving, cosines, -jnp.inf)
    to = jnp.where(merging, cosines.argmax(axis=-1).astype(jnp.int32), -1)
    into = jax.nn.one_hot(to, tokens.shape[1], dtype=tokens.dtype)  # (b, u, v)
    together = 1 + into.sum(axis=1)  # (b, v)
    sums = tokens + jnp.einsum("buv,buc->bvc", into, tokens)
    shares = jnp.where(merging, sizes * cosines.max(axis=-1), sizes)
    raised = (position < left) & (jnp.asarray(kept) < left)
    shares = jnp.where(raised, jnp.maximum(shares, least), shares)
    grown = shares + jnp.einsum("buv,bu->bv", into.astype(sizes.dtype), shares)
    return sums / together[..., None], grown, to
