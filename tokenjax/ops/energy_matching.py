"""Merging by energy (PiToMe): patches that are like many others merge first.

    sim_uv = k_u . k_v                  unit vectors, of the mean of a block's keys
    energy_u = mean_v f(sim_uv - margin),  f = ELU; u itself is among the v
    rank = position in descending energy

    matched    even ranks send, odd ranks receive; the `count` most similar pairs merge
    paired     only the 2 count highest ranks take part, even ranks send, all merge
    halved     the same, but the higher half of them sends (the form for text)

A pair is a sender and the receiver that it is most like. Plans carry no gradient.
Protected tokens (p of them, before the patches) neither send nor receive, and lead.

Axes: batch b, patches m, dim d.

Source: Tran et al. 2024 (arXiv 2405.16148), as hchautran/PiToMe computes it, which
subtracts the margin above it too.
"""

import math

import jax
import jax.numpy as jnp

from tokenjax.ops import similarity, token_selection
from tokenjax.ops.token_merging import MergePlan


def find_energy(unit: jax.Array, margin: float, alpha: float = 1.0) -> jax.Array:
    """Return each patch's energy, its mean likeness to all patches beyond a margin.

    Args:
      unit: (b, m, d), `similarity.unit_vectors` of the patches' metric.
      margin: of cosines; what is less like counts little.
      alpha: ELU's, how much it may count below the margin.

    Returns: (b, m) float32.
    """
    above = similarity.compare(unit, unit) - margin
    return jax.nn.elu(above, alpha).mean(axis=-1)


def find_gaussian_energy(unit: jax.Array, margin: float) -> jax.Array:
    """Return the energy of the form for text, the mean density of a Gaussian.

        exp(-((1 - sim) / sigma)^2 / 2) / (sigma sqrt(2 pi)),  sigma = 1 - margin

    Args and result as of `find_energy`; margin below 1.
    """
    sigma = 1 - margin
    distance = (1 - similarity.compare(unit, unit)) / sigma
    density = jnp.exp(-0.5 * distance**2) / (sigma * math.sqrt(2 * math.pi))
    return density.mean(axis=-1)


def merge_matched(
    unit: jax.Array, energy: jax.Array, count: int, num_protected: int = 1
) -> MergePlan:
    """Plan the matched form, see the module.

    Outputs: [protected, other senders in descending similarity, receivers by rank].

    Args:
      unit: (b, m, d).
      energy: (b, m).
      count: patches to merge away, from 1 to (m + 1) // 2.
      num_protected: p.

    Returns: a plan for p + m tokens.
    """
    num_patches = unit.shape[1]
    _check_count(count, (num_patches + 1) // 2, num_patches)
    ranked = token_selection.rank_tokens(energy, num_patches)
    senders, receivers = ranked[:, ::2], ranked[:, 1::2]
    gather = token_selection.gather_tokens
    # the product anew: gathering columns of all cosines takes longer
    pairs = similarity.pair_most_similar(
        gather(unit, senders), gather(unit, receivers), count
    )
    return _plan(
        gather(senders, pairs.staying),
        receivers,
        gather(senders, pairs.going),
        pairs.to,
        num_protected,
    )


def merge_paired(
    unit: jax.Array,
    energy: jax.Array,
    count: int,
    num_protected: int = 1,
    halved: bool = False,
) -> MergePlan:
    """Plan the paired form, or the halved one, see the module.

    Outputs: [protected, patches that take no part by rank, receivers by rank].

    Args and result as of `merge_matched`; count at most m // 2.
    """
    num_patches = unit.shape[1]
    _check_count(count, num_patches // 2, num_patches)
    ranked = token_selection.rank_tokens(energy, num_patches)
    taking_part, rest = ranked[:, : 2 * count], ranked[:, 2 * count :]
    if halved:
        senders, receivers = taking_part[:, :count], taking_part[:, count:]
    else:
        senders, receivers = taking_part[:, ::2], taking_part[:, 1::2]
    gather = token_selection.gather_tokens
    _, to = similarity.find_most_similar(gather(unit, senders), gather(unit, receivers))
    return _plan(rest, receivers, senders, to, num_protected)


def _plan(
    rest: jax.Array,
    receivers: jax.Array,
    merged: jax.Array,
    to: jax.Array,
    num_protected: int,
) -> MergePlan:
    """Lay out patches `rest`, then `receivers`, of which `merged` go `to` some."""
    kept = jnp.concatenate([rest, receivers], axis=1)
    return MergePlan(
        token_selection.lead_with_protected(kept, num_protected),
        merged + num_protected,
        to + num_protected + rest.shape[1],
    )


def _check_count(count: int, most: int, num_patches: int) -> None:
    if not 1 <= count <= most:
        raise ValueError(
            f"cannot merge {count} of {num_patches} patches, at most {most}"
        )
