"""What trains re-identification: who it is, and how far it is from everyone else.

    d(x, y)   = sqrt(max(|x|^2 + |y|^2 - 2 x.y, 1e-12))
    ap_i      = (1 + f) max of d(x_i, x_j) over j of i's identity, i itself included
    an_i      = (1 - f) min of d(x_i, x_j) over j of other identities
    triplet   = mean_i log(1 + exp(ap_i - an_i))          soft margin (`margin` None)
              | mean_i max(0, ap_i - an_i + margin)
    total     = sum over pairs of 0.25 cross entropy(scores) + 1.0 triplet(features)

Distances and losses are float32 whatever comes in. A distance below the clamp (to
itself, or to an equal image) has no gradient. Of equally far ones the first is the
hardest, and has the gradient alone. An anchor without a negative (a batch of a single
identity) adds nothing, neither loss nor gradient: the mean is over the others, and 0 if
there are none.

Source: Hermans et al. 2017 (arXiv 1703.07737); DeMo2 at 6334359, triplet_loss.py,
softmax_loss.py and make_loss.py in layers/, whose numbers these are where every
identity has a negative.

Axes: batch b, classes k, dim c.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from tokenjax.ops import maximum
from tokenjax.training.tasks.losses import cross_entropy


def identity_loss(
    scores: Float[Array, "batch classes"],
    labels: Int[Array, " batch"],
    smoothing: float = 0.1,
) -> Float[Array, ""]:
    """Return cross entropy, labels smoothed: 1 - s of the own class, s / k of all."""
    scores = scores.astype(jnp.float32)
    return cross_entropy(scores, labels, label_smoothing=smoothing)


def distances(features: Float[Array, "batch dim"]) -> Float[Array, "batch batch"]:
    """Return Euclidean distances of all pairs, float32, 1e-6 at least."""
    features = features.astype(jnp.float32)
    squares = jnp.square(features).sum(-1)
    # Half precision's rounding in the product would be as large as small distances.
    product = jnp.matmul(features, features.T, precision=jax.lax.Precision.HIGHEST)
    squared = squares[:, None] + squares[None] - 2 * product
    return jnp.sqrt(_at_least(1e-12, squared))


def _at_least(lowest: float, values: jax.Array) -> jax.Array:
    """Return max(values, lowest), with PyTorch's gradient of clamp: 1 where equal.

    The gradient of a maximum would be 1/2 there, relu's 0.
    """
    return jnp.where(values >= lowest, values, lowest)


def hardest(
    features: Float[Array, "batch dim"],
    labels: Int[Array, " batch"],
    normalize: bool = False,
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """Return distances to the farthest of the own, the nearest of other identities.

    The second is infinite where there is no other identity.
    """
    features = features.astype(jnp.float32)
    if normalize:
        square = jnp.square(features).sum(-1, keepdims=True)
        some = square > 0  # zeros stay zeros, without a NaN for gradient
        length = jnp.where(some, jnp.sqrt(jnp.where(some, square, 1.0)), 0.0)
        features = features / (length + 1e-12)
    apart = distances(features)
    same = labels[:, None] == labels[None]
    positive = maximum.first_largest(jnp.where(same, apart, -jnp.inf))
    return positive, maximum.first_smallest(jnp.where(same, jnp.inf, apart))


def triplet_loss(
    features: Float[Array, "batch dim"],
    labels: Int[Array, " batch"],
    margin: float | None = None,
    normalize: bool = False,
    hard_factor: float = 0.0,
) -> Float[Array, ""]:
    """Return the batch-hard triplet loss of the module's docstring."""
    positive, negative = hardest(features, labels, normalize)
    there = jnp.isfinite(negative)
    negative = jnp.where(there, negative, 0.0)
    gap = positive * (1 + hard_factor) - negative * (1 - hard_factor)
    losses = jax.nn.softplus(gap) if margin is None else _at_least(0.0, gap + margin)
    return jnp.where(there, losses, 0.0).sum() / jnp.maximum(there.sum(), 1)


def reid_loss(
    pairs: Sequence[tuple[jax.Array, jax.Array]],
    labels: Int[Array, " batch"],
    id_weight: float = 0.25,
    triplet_weight: float = 1.0,
    smoothing: float = 0.1,
    margin: float | None = None,
) -> tuple[Float[Array, ""], Float[Array, " pairs"]]:
    """Return the sum over pairs, scores (b, k) and features (b, c), and each's loss."""
    losses = jnp.stack(
        [
            id_weight * identity_loss(scores, labels, smoothing)
            + triplet_weight * triplet_loss(features, labels, margin)
            for scores, features in pairs
        ]
    )
    return losses.sum(), losses
