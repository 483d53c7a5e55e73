"""Bipartite soft matching: which tokens are most alike, and merge.

    a = tokens at even positions, b = tokens at odd positions, of those not protected
    best_u = max_v cos(a_u, b_v);   the r best a merge, each into its most similar b

Nothing is merged twice, a token of b may receive several, and no gradient flows through
a plan. Of equal similarities the first position wins, as giver and as receiver.

Axes: batch b, tokens n, metric dim d, givers |a|, receivers |b|, merged r.

Source: Bolya et al. 2023 (arXiv 2210.09461), section 3; facebookresearch/ToMe, which
compares all tokens and sets rows and columns of protected ones to -inf: the same plan.
"""

import jax
import jax.numpy as jnp

from tokenjax.ops import similarity, token_merging, token_selection
from tokenjax.ops.token_merging import MergePlan


def most_merged(num_tokens: int, protected: int) -> int:
    """Return how many tokens one matching can merge at most."""
    return max(num_tokens - protected, 0) // 2


def match_halves(metric: jax.Array, count: int, protected: int) -> MergePlan:
    """Plan ToMe's merge of the `count` most similar pairs.

    Args:
      metric: (b, n, d), what is compared.
      count: r; at most `most_merged` are merged, and none if it is not above 0.
      protected: how many leading tokens neither leave nor receive: class token,
        distillation token, registers.

    Returns: a plan whose outputs are the protected tokens, the other a that stay, the
    other b in order. The a are in ascending position if a token is protected, else
    the most similar first.
    """
    batch, num_tokens = metric.shape[:2]
    count = min(count, most_merged(num_tokens, protected))
    if count <= 0:
        return token_merging.keep_all(batch, num_tokens)
    first_giver = protected + protected % 2
    first_receiver = protected + 1 - protected % 2
    unit = similarity.unit_vectors(metric)
    pairs = similarity.pair_most_similar(
        unit[:, first_giver::2], unit[:, first_receiver::2], count
    )
    staying = jnp.sort(pairs.staying) if protected else pairs.staying
    kept = [
        _fill(batch, jnp.arange(protected)),
        first_giver + 2 * staying,
        _fill(batch, jnp.arange(first_receiver, num_tokens, 2)),
    ]
    before = protected + staying.shape[1]
    return MergePlan(
        jnp.concatenate(kept, axis=1),
        first_giver + 2 * pairs.going,
        before + pairs.to,
    )


def match_every(metric: jax.Array, every: int) -> MergePlan:
    """Plan a merge of all tokens into those at positions every - 1, 2 every - 1, ....

    Args:
      metric: (b, n, d), what is compared.
      every: from 2 to n. The n mod every last tokens are dropped.

    Returns: a plan whose outputs are the receivers in order.
    """
    batch, num_tokens = metric.shape[:2]
    if not 2 <= every <= num_tokens:
        raise ValueError(f"cannot merge into every {every}th of {num_tokens} tokens")
    positions = jnp.arange(num_tokens - num_tokens % every).reshape(-1, every)
    kept, merged = positions[:, -1], positions[:, :-1].reshape(-1)
    unit = similarity.unit_vectors(metric)
    _, receivers = similarity.find_most_similar(unit[:, merged], unit[:, kept])
    return MergePlan(_fill(batch, kept), _fill(batch, merged), receivers)


def match_drawn(metric: jax.Array, count: int, uniforms: jax.Array) -> MergePlan:
    """Plan a merge of `count` tokens drawn at random into the most similar others.

    Args:
      metric: (b, n, d), what is compared.
      count: from 1 to n - 1.
      uniforms: (b, n); the tokens with the lowest merge.

    Returns: a plan whose outputs are the others, in ascending order of their draws.
    """
    num_tokens = metric.shape[1]
    if not 1 <= count < num_tokens:
        raise ValueError(f"cannot merge {count} of {num_tokens} tokens")
    order = jnp.argsort(uniforms, axis=-1).astype(jnp.int32)  # stable
    unit = token_selection.gather_tokens(similarity.unit_vectors(metric), order)
    _, receivers = similarity.find_most_similar(unit[:, :count], unit[:, count:])
    return MergePlan(order[:, count:], order[:, :count], receivers)


def _fill(batch: int, positions: jax.Array) -> jax.Array:
    """Repeat positions (k,) for every image: (b, k) int32."""
    positions = positions.astype(jnp.int32)
    return jnp.broadcast_to(positions, (batch, *positions.shape))
