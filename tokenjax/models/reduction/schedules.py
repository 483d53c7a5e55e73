"""Schedules: how many tokens the blocks remove or keep, as numbers known beforehand.

Token counts are static shapes, so all of this is plain Python on ints and floats:

    r            tokens merged per block: 13, (13, -1.0) or [13, 12, 11]
    keep_rate    EViT: share of the patch tokens that a block finds
                 TokenReduction, DynamicViT: share of the image's patches, at places
    counts       TokenReduction: tokens left at places
    ratio        PiToMe, ToFu: share of the tokens that a block finds
    share        MCTF: share of the patch tokens that a block removes

Products are of doubles and truncated as the originals do, so counts agree to the token
also where a product misses a whole number (0.07 * 100 is 7.000000000000001, 0.29 * 100
is 28.999999999999996).

Sources: facebookresearch/ToMe, youweiliang/evit, raoyongming/DynamicViT,
hchautran/PiToMe, JoakimHaurum/TokenReduction, mlvlab/MCTF.
"""

import math
from collections.abc import Sequence

from tokenjax.errors import UserError
from tokenjax.ops import bipartite_matching

Number = int | float


def spread_merges(
    r: int | Sequence[Number], depth: int, ignore_rest: bool = False
) -> list[int]:
    """Return how many tokens each block is asked to merge.

    Args:
      r: the same number in every block; or a pair of a number and an inflection with a
        point, from -1.0 (2 r in the first block, none in the last) by 0.0 (constant) to
        1.0 (the other way round); or a list, a block each, then none.
      depth: blocks.
      ignore_rest: take a list that is longer than the model, as the original does.

    A list and a pair are told apart by that point and not by their type, because lists
    become tuples on their way through configurations and modules.
    """
    if isinstance(r, int):
        return _whole([r] * depth, "r")
    if len(r) == 2 and isinstance(r[1], float):
        return _spread_pair(r[0], r[1], depth)
    if len(r) == 2 and r[1] in (-1, 0, 1):
        raise UserError(
            f"reduction: r = {r} may be a pair or a list: write ({r[0]}, {r[1]}.0) for "
            f"an inflection, [{r[0]}, {r[1]}, 0] for the numbers of the first blocks"
        )
    if len(r) > depth and not ignore_rest:
        raise UserError(
            f"reduction: r has {len(r)} entries, but the model has {depth} blocks; "
            "give one for each, or fewer for the first ones"
        )
    return (_whole(r, "r") + [0] * depth)[:depth]


def limit_merges(asked: Sequence[int], num_tokens: int, protected: int) -> list[int]:
    """Return how many tokens each block merges: at most half of those not protected.

    Args:
      asked: per block.
      num_tokens: before the first block.
      protected: tokens that never merge, counted among them.
    """
    patches = num_tokens - protected
    if max(asked, default=0) > patches:
        raise UserError(
            f"reduction: cannot merge {max(asked)} tokens in one block, the image has "
            f"{patches} patches"
        )
    merged: list[int] = []
    for count in asked:
        most = bipartite_matching.most_merged(num_tokens - sum(merged), protected)
        merged.append(min(count, most))
    return merged


def merge_to_counts(counts: Sequence[int], num_patches: int) -> list[int]:
    """Return the merges at places that leave `counts` patch tokens after each.

    They are differences of what was planned. Where more than half would merge, only
    half does, and later places do not make up for it (as in TokenReduction).
    """
    before = [num_patches, *counts[:-1]]
    merges = [first - then for first, then in zip(before, counts, strict=True)]
    if min(merges, default=0) < 0:
        raise UserError(
            f"reduction: the counts {list(counts)} of an image of {num_patches} "
            "patches grow; each place leaves at most what it finds"
        )
    return merges


def place_problems(
    blocks: Sequence[int] | None, key: str = "reduction_loc"
) -> list[tuple[bool, str]]:
    """Return what is wrong with the blocks where a method acts (`Reducer.problems`)."""
    given = tuple(blocks or ())
    wrong = list(given) != sorted(set(given))
    return [(wrong, f"{key} must be ascending blocks, got {given}")]


def count_at_places(
    keep_rate: Number | Sequence[Number], places: int, num_patches: int
) -> list[int]:
    """Return how many tokens are left at places, by TokenReduction's rule.

    Args:
      keep_rate: one rate q, so that int(q^(j + 1) patches) are left at place j; or
        several numbers, which are the counts.
      places: how many.
      num_patches: of the image.
    """
    given = _listed(keep_rate)
    if len(given) == 1:
        rates = rates_at_places(given, places)
        return [keep_of_image(rate, num_patches) for rate in rates]
    _expect_length(given, places, "keep_rate", "places")
    counts = _whole(given, "keep_rate")
    if min(counts) < 1 or max(counts) > num_patches:
        raise UserError(
            f"reduction: keep_rate = {counts} are numbers of tokens, each from 1 to "
            f"the image's {num_patches} patches"
        )
    return counts


def rates_at_places(
    keep_rate: Number | Sequence[Number], places: int, key: str = "keep_rate"
) -> list[float]:
    """Return a rate for every place: one rate's powers, or several as they are."""
    given = [check_rate(rate, key) for rate in _listed(keep_rate)]
    if len(given) == 1:
        return [given[0] ** (place + 1) for place in range(places)]
    _expect_length(given, places, key, "places")
    return given


def rates_of_blocks(
    keep_rate: Sequence[Number], depth: int, key: str = "keep_rate"
) -> list[float]:
    """Check that there is a rate for every block."""
    _expect_length(keep_rate, depth, key, "blocks")
    return [check_rate(rate, key) for rate in keep_rate]


def counts_of_blocks(counts: Sequence[Number], depth: int, key: str) -> list[int]:
    """Check that there is a number of tokens for every block (DiffRate)."""
    _expect_length(counts, depth, key, "blocks")
    return _whole(counts, key)


def quarter_blocks(depth: int) -> list[int]:
    """Return the blocks at the quarters of the depth: 3, 6 and 9 of 12."""
    return sorted({depth * quarter // 4 for quarter in (1, 2, 3)})


def keep_of_image(rate: float, num_patches: int) -> int:
    """Return int(rate patches): DynamicViT, TokenReduction's Top-K and EViT."""
    count = int(num_patches * rate)
    if count < 1:
        raise UserError(
            f"reduction: a rate of {rate} keeps none of {num_patches} patches"
        )
    return count


def keep_of_found(rate: float, num_found: int) -> int:
    """Return ceil(rate found), of the patch tokens that a block finds: EViT."""
    return math.ceil(check_rate(rate) * num_found)


def remove_for_ratio(ratio: float, num_tokens: int) -> int:
    """Return floor(tokens - tokens ratio), 0 from ratio 1 on.

    PiToMe counts patch tokens; ToFu, and ToMe and MCTF of the same authors, count the
    class token too.
    """
    if not ratio > 0:
        raise UserError(f"reduction: ratio = {ratio} is the share that stays: above 0")
    if ratio >= 1:
        return 0
    return math.floor(num_tokens - num_tokens * ratio)


def remove_share(r: Number, num_patches: int) -> int:
    """Return r tokens, or int(patches r) where r is below 1: MCTF."""
    if r < 0:
        raise UserError(f"reduction: r = {r} tokens cannot be removed")
    return int(num_patches * r) if r < 1 else int(r)


def check_rate(rate: Number, key: str = "keep_rate") -> float:
    """Return a share of tokens that stays, if it is one."""
    if not 0 < rate <= 1:
        raise UserError(
            f"reduction: {key} = {rate} is the share that stays: above 0, at most 1"
        )
    return float(rate)


def _spread_pair(r: Number, inflection: float, depth: int) -> list[int]:
    if not -1 <= inflection <= 1:
        raise UserError(
            f"reduction: r = ({r}, {inflection}): the inflection is from -1.0 to 1.0"
        )
    if depth < 2:
        raise UserError(
            f"reduction: r = ({r}, {inflection}) spreads over blocks; the model has one"
        )
    _whole([r], "r")
    first = int(r * (1.0 - inflection))
    step = (2 * r - 2 * first) / (depth - 1)
    return [int(first + step * block) for block in range(depth)]


def _listed(numbers: Number | Sequence[Number]) -> list[Number]:
    return [numbers] if isinstance(numbers, int | float) else list(numbers)


def _whole(numbers: Sequence[Number], key: str) -> list[int]:
    """Check that numbers of tokens are whole and not negative."""
    for number in numbers:
        if not isinstance(number, int) or number < 0:
            raise UserError(
                f"reduction: {key} = {number} is a number of tokens: whole, at least 0"
            )
    return [int(number) for number in numbers]


def _expect_length(numbers: Sequence[Number], length: int, key: str, of: str) -> None:
    if len(numbers) != length:
        raise UserError(
            f"reduction: {key} has {len(numbers)} entries for {length} {of}"
        )
