"""Cross-entropy of single and mixed labels, and what class imbalance adds to it.

With K classes, label y and smoothing s, the target of an example is
t = (1 - s) onehot(y) + s / K and its loss l = -sum_k t_k log softmax(logits)_k.

Three answers to imbalance, from the examples per class of the training split:

    class weights      `cross_entropy(..., class_weights=inverse_frequency_weights(n))`
    logit adjustment   `cross_entropy(logits + tau * log_prior(n), ...)` in training,
                       plain logits in evaluation (Menon et al. 2021, arXiv 2007.07314)
    sampling           `tokenjax.data.sampling_weights`, and the plain loss
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from tokenjax.errors import UserError
from tokenjax.ops.batch_parts import over_parts
from tokenjax.training.settings import Settings


def cross_entropy(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, " batch"],
    *,
    label_smoothing: float = 0.0,
    class_weights: ArrayLike | None = None,
    other_labels: Int[Array, " batch"] | None = None,
    share: ArrayLike = 1.0,
) -> Float[Array, ""]:
    """Return the mean loss of a batch whose images may be mixed of two.

        sum_i [share w_a l_a + (1 - share) w_b l_b]
        / sum_i [share w_a + (1 - share) w_b]

    over examples i with a = labels[i], b = other_labels[i], w_y = class_weights[y] (1
    where none are given). Without other labels: sum_i w_a l_a / sum_i w_a, whatever
    `share` is. The sum of weights is over all parts of a batch that comes in parts.

    CIFAR-ViT adds two weighted means, share (sum w_a l_a / sum w_a) and likewise for b.
    Their denominators differ, so that the same pair counts more or less by what it is
    batched with: not repeated here. Without weights both agree. Its smoothed loss drops
    the class weights; here both act, with w the weight of the example's own label
    (PyTorch's weighs each smoothed term by that term's class).

    Args:
      logits: (b, k).
      labels: (b,) integers in 0..k-1.
      label_smoothing: s, in [0, 1).
      class_weights: (k,), 0 or more.
      other_labels: (b,), the label of the second image of every pair.
      share: of the first image, in [0, 1]: a scalar, or (b,).

    Raises:
      ValueError: shapes that disagree, which indexing would clamp without a word.
    """
    _check_shapes(logits, labels, class_weights, other_labels, share)
    weighted = functools.partial(
        weighted_losses,
        logits,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
    )
    losses, weights = weighted(labels)
    if other_labels is not None:
        other_losses, other_weights = weighted(other_labels)
        share = jnp.asarray(share, losses.dtype)
        losses = share * losses + (1 - share) * other_losses
        weights = share * weights + (1 - share) * other_weights
    return losses.sum() / over_parts(weights.sum())


def weighted_losses(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, " batch"],
    *,
    label_smoothing: float = 0.0,
    class_weights: ArrayLike | None = None,
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """Return w l and w of every example: the sum of one over the other's is the loss.

    `w` is the weight of the example's label, 1 where there are no class weights.
    """
    targets = jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype)  # (b, k)
    targets = optax.smooth_labels(targets, label_smoothing)
    losses = optax.softmax_cross_entropy(logits, targets)  # (b,)
    if class_weights is None:
        return losses, jnp.ones_like(losses)
    weights = jnp.asarray(class_weights, losses.dtype)[labels]  # (b,)
    return weights * losses, weights


def _check_shapes(
    logits: jax.Array,
    labels: jax.Array,
    class_weights: ArrayLike | None,
    other_labels: jax.Array | None,
    share: ArrayLike,
) -> None:
    if logits.ndim != 2:
        raise ValueError(f"logits must be (batch, classes), got shape {logits.shape}")
    batch, num_classes = logits.shape
    expected: dict[str, tuple[ArrayLike, tuple[int]]] = {"labels": (labels, (batch,))}
    if class_weights is not None:
        expected["class_weights"] = (class_weights, (num_classes,))
    if other_labels is not None:
        expected["other_labels"] = (other_labels, (batch,))
    if jnp.ndim(share):
        expected["share"] = (share, (batch,))
    for name, (array, shape) in expected.items():
        if jnp.shape(array) != shape:
            raise ValueError(f"{name} must be {shape}, got shape {jnp.shape(array)}")


def name_criterion(settings: Settings) -> str:
    """Say what a run minimises besides its model's own losses."""
    parts: list[str] = []
    if settings.label_smoothing:
        parts.append(f"label_smoothing {settings.label_smoothing:g}")
    if settings.imbalance.class_weights != "none":
        parts.append(f"class_weights {settings.imbalance.class_weights}")
    if settings.imbalance.logit_adjustment:
        parts.append(f"logit_adjustment {settings.imbalance.logit_adjustment:g}")
    return f"cross_entropy with {', '.join(parts)}" if parts else "cross_entropy"


def inverse_frequency_weights(counts: np.ndarray) -> np.ndarray:
    """Return class weights (k,) float32 with total K, in proportion to 1 / counts (k,).

        w_k = N / (K n_k), rescaled to sum K      (N examples, n_k of class k)

    Raises `UserError` for a class without training examples.
    """
    weights = 1 / _shares(counts)  # (k,); N / n_k: rescaling takes the K away
    return (weights * len(weights) / weights.sum()).astype(np.float32)


def log_prior(counts: np.ndarray) -> np.ndarray:
    """Return log(n_k / N) (k,) float32 of counts (k,), for logit adjustment.

    Raises `UserError` for a class without training examples.
    """
    return np.log(_shares(counts)).astype(np.float32)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Return n_k / N, (k,) float64."""
    counts = np.asarray(counts, np.float64)
    if (counts <= 0).any():
        raise UserError(
            f"class {np.argmax(counts <= 0)} has no training examples: class weights "
            "and logit adjustment need one of every class; leave the class out, or "
            "turn them off"
        )
    return counts / counts.sum()
