"""ATS: how many tokens an image keeps follows from how its class token attends.

    score_j = sum over heads of A_0j |v_j|          normalised to a sum of 1
    kept = the patch tokens whose cumulative score is nearest to 1/(2K), 3/(2K), ...

Inside the attention: the class token's row A_0 chooses, and only rows of kept tokens go
on; all tokens are still keys. Several quantiles may fall on one token, so an image
keeps at most as many as there are quantiles: K - 1, or K where rounding gives one more.
Rows that an image does not fill repeat its class token and are marked as absent. They
cost what others cost, so K says what is saved.

Ids have no gradient; it flows through the rows.

Source: Fayyaz et al. 2022 (arXiv 2111.15667), as in JoakimHaurum/TokenReduction, which
takes cumulative scores in order of position. The authors' own code sorts them first.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.arguments import COUNT, LARGEST_SIZE, at_least
from tokenjax.errors import UserError
from tokenjax.models.attention import Mixing, Seen, Wanted
from tokenjax.models.reduction import schedules
from tokenjax.models.reduction.reducer import EncoderFacts, Place, Reducer, Site
from tokenjax.models.reduction.token_set import Reduction, TokenSet, select_set
from tokenjax.ops import token_merging, token_selection


class ATS(Reducer):
    """Samples tokens by their cumulative scores; see the module."""

    keep_rate: Annotated[
        float | tuple[int | float, ...],
        at_least(0, LARGEST_SIZE),
        "share of the patches sampled at each place, its powers; or numbers of samples",
    ] = 0.7
    reduction_loc: Annotated[
        tuple[int, ...], COUNT, "the blocks that sample, from 0"
    ] = (3, 6, 9)

    site: ClassVar[Site] = "inside"
    needs_class_token: ClassVar[bool] = True

    def problems(self) -> list[tuple[bool, str]]:
        """Return what the arguments are not to each other, as (wrong, sentence)."""
        return schedules.place_problems(self.reduction_loc)

    def wants(self) -> tuple[Wanted, ...]:
        """Return all weights, the class token's before dropout, and values."""
        return ("attention", "class_attention", "values")

    def marks(self) -> bool:
        """Return that it does: those of an image that needs fewer fill up the batch."""
        return True

    def amounts(self, encoder: EncoderFacts) -> Mapping[int, int]:
        """Return how many samples each place takes."""
        places = self.reduction_loc
        counts = schedules.count_at_places(self.keep_rate, len(places), encoder.patches)
        if isinstance(self.keep_rate, float) or len(self.keep_rate) == 1:
            counts = [count + 1 for count in counts]
        if min(counts, default=2) < 2:
            raise UserError(f"reduction: keep_rate = {counts}: 1 samples no patch")
        return dict(zip(places, counts, strict=True))

    def mix(
        self,
        token_set: TokenSet,
        seen: Seen,
        project: Callable[[jax.Array], tuple[jax.Array, ...]],
        place: Place,
        train: bool,
    ) -> Mixing:
        """Choose the rows that go on."""
        del project, train
        lead, present = token_set.protected, token_set.keep
        chosen = sample_patches(
            score_patches(seen.ask("class_attention"), seen.ask("values"))[:, lead:],
            None if present is None else present[:, lead:],
            place.amount,
        )
        rows, filled = list_rows(chosen, lead, len(quantiles(place.amount)))
        left, _ = select_set(token_set, rows)
        step = _find_rows(chosen, lead)
        source_map = token_merging.compose_maps(token_set.source_map, step)
        left = left.replace(source_map=source_map, keep=filled)
        weights = seen.ask("attention").swapaxes(1, 2)
        weights = token_selection.gather_tokens(weights, rows).swapaxes(1, 2)
        return Mixing(weights, seen.ask("values"), (left, Reduction(step)))


def quantiles(count: int) -> np.ndarray:
    """Return the shares at which `count` samples are taken, (q,).

    There are count - 1, or count by rounding: in double, as the original computes.
    """
    return np.arange(1 / (2 * count), (2 * count - 1) / (2 * count), 1 / count)


def score_patches(class_attention: jax.Array, values: jax.Array) -> jax.Array:
    """Weigh attention (b, h, n) by the norms of values (b, h, n, d): (b, n) float32."""
    norms = jnp.linalg.norm(values.astype(jnp.float32), axis=-1)
    return jax.lax.stop_gradient((class_attention * norms).sum(axis=1))


def sample_patches(
    scores: jax.Array, present: jax.Array | None, count: int
) -> jax.Array:
    """Choose the patch tokens that quantiles of the cumulative score fall on.

    Args:
      scores: (b, m), 0 where a token is absent.
      present: (b, m), 0 for those; None: all are there.
      count: K.

    Returns: (b, m) bool.
    """
    total = scores.sum(axis=1, keepdims=True) + 1e-6
    cumulative = jnp.cumsum(scores / total, axis=1)
    if present is not None:
        cumulative += 0.1 * (1 - present)  # what is absent is nearest to nothing
    points = jnp.asarray(quantiles(count), jnp.float32)
    distances = jnp.abs(cumulative[:, None] - points[:, None])  # (b, q, m)
    nearest = distances.argmin(axis=-1)  # (b, q), of equals the first
    positions = jnp.arange(scores.shape[1])
    chosen = (nearest[:, :, None] == positions).any(axis=1)
    return chosen if present is None else chosen & (present > 0)


def list_rows(
    chosen: jax.Array, protected: int, samples: int
) -> tuple[jax.Array, jax.Array]:
    """Return the tokens that go on (b, k) int32, and which of them are there, 0 or 1.

    The protected lead, chosen patches follow in order, then the class token again until
    there are as many as samples, if there are so many patches.
    """
    batch, count = chosen.shape
    positions = jnp.where(chosen, jnp.arange(count), count)
    positions = jnp.sort(positions, axis=1)[:, : min(samples, count)]
    filled = positions < count
    patches = jnp.where(filled, positions + protected, 0)
    leading = jnp.broadcast_to(jnp.arange(protected), (batch, protected))
    rows = jnp.concatenate([leading, patches], axis=1).astype(jnp.int32)
    ones = ((0, 0), (protected, 0))
    return rows, jnp.pad(filled.astype(jnp.float32), ones, constant_values=1)


def _find_rows(chosen: jax.Array, protected: int) -> jax.Array:
    """Return the row that each token goes to, (b, n) int32, -1 for none."""
    batch = len(chosen)
    rows = jnp.where(chosen, protected - 1 + jnp.cumsum(chosen, axis=1), -1)
    leading = jnp.broadcast_to(jnp.arange(protected), (batch, protected))
    return jnp.concatenate([leading, rows], axis=1).astype(jnp.int32)
