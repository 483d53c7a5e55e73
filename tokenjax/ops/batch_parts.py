"""What a batch that goes through a network in parts has as a whole.

The gradient of a mean over examples is the mean of the gradients of equal parts. That
of a ratio of sums, or of the square of a mean, is not: what enters a loss other than
linearly goes through `over_parts` first,

    sum(w l) / over_parts(sum(w))                   weights without a gradient
    over_parts(sum(w l)) / over_parts(sum(w))       weights with one
    square(over_parts(mean(x)) - target)

and the mean over the parts of the loss, and of its gradient, is the whole batch's.

    over_parts(x_p) = 1/k sum_p x_p          d over_parts(x_p) / d x_p = 1

over the k parts p. Where nothing is in parts it is x itself. Whoever has parts runs the
loss twice: `recorded` collects every part's x, `given` hands their means out in the
same order. What is passed through may not depend on what another call returned, and
the calls stand in no `jit`, `scan` or `remat` of the network's own.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp


@dataclasses.dataclass
class _Parts:
    """The statistics of one run through a loss, so far.

    Attributes:
      found: of this part, in the order of the calls.
      whole: the means over all parts, in the same order; None where they are unknown.
    """

    found: list[jax.Array] = dataclasses.field(default_factory=list)
    whole: Sequence[jax.Array] | None = None


_PARTS: contextvars.ContextVar[_Parts | None] = contextvars.ContextVar(
    "parts", default=None
)


def over_parts(statistic: jax.Array) -> jax.Array:
    """Return the mean of a part's statistic over all parts; see above."""
    parts = _PARTS.get()
    if parts is None:
        return statistic
    parts.found.append(statistic)
    if parts.whole is None:
        return statistic
    whole = parts.whole[len(parts.found) - 1]
    # The difference is 0; the gradient goes through it.
    own = statistic - jax.lax.stop_gradient(statistic)
    return jax.lax.stop_gradient(whole).astype(statistic.dtype) + own


@contextlib.contextmanager
def recorded() -> Iterator[list[jax.Array]]:
    """Collect what goes through `over_parts`, which gives it back as it is."""
    parts = _Parts()
    token = _PARTS.set(parts)
    try:
        yield parts.found
    finally:
        _PARTS.reset(token)


@contextlib.contextmanager
def given(whole: Sequence[jax.Array]) -> Iterator[None]:
    """Let `over_parts` return these, in order.

    Raises: RuntimeError, at the end, for another number of calls.
    """
    parts = _Parts(whole=[jnp.asarray(each) for each in whole])
    token = _PARTS.set(parts)
    try:
        yield
    finally:
        _PARTS.reset(token)
    if len(parts.found) != len(whole):
        raise RuntimeError(
            f"{len(whole)} statistics were recorded, {len(parts.found)} asked for"
        )
