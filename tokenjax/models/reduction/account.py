"""What a model says of its reductions in `aux["reduction"]`.

Axes: batch b, tokens before n, tokens after k, protected tokens P, patches p.
"""

from collections.abc import Sequence
from typing import TypeAlias

import jax

from tokenjax.models.reduction.token_set import Reduction, TokenSet

Account: TypeAlias = tuple[dict[str, jax.Array | None] | None, ...]


def account_for(
    reductions: Sequence[Reduction | None], left: Sequence[TokenSet]
) -> Account:
    """Return one entry per block, None where nothing happened, else a dict.

    `left`: per block the tokens after its reduction. An entry has

    "map" (b, n) int32: the output that an input token went to, -1 if it was dropped;
    "sizes" (b, k) float32: how many tokens of the start each stands for; "scores" (b,
    n - P): how much each was wanted, or None where the method does not say; "patches"
    (b, p) int32: the output that each patch of the image is in by now, -1 for none; and
    what more the method shows.
    """
    entries: list[dict[str, jax.Array | None] | None] = []
    for reduction, after in zip(reductions, left, strict=True):
        if reduction is None:
            entries.append(None)
            continue
        sizes = after.sizes
        if sizes is None:
            sizes = after.count_held()
        elif after.keep is not None:  # what is only marked stands for none
            sizes *= after.keep
        entries.append(
            {
                "map": reduction.map,
                "sizes": sizes,
                "scores": reduction.scores,
                "patches": after.patch_map,
                **reduction.more,
            }
        )
    return tuple(entries)
