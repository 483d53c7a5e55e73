"""Schedules: recorded counts, and what does not fit is refused in a sentence."""

import numpy as np
import pytest

from tokenjax.errors import UserError
from tokenjax.models.reduction import schedules


def test_recorded_merges_per_block(golden):
    case = golden("reduction/tome_schedules")
    for setting in case.meta["arguments"]["settings"]:
        name, depth = setting["name"], setting["layers"]
        recorded, left = case[f"output/{name}/r"], case[f"output/{name}/tokens_left"]
        # the recorded list that is longer than the model was written out whole
        asked = schedules.spread_merges(setting["r"], max(depth, len(recorded)))
        assert asked == recorded.tolist(), name
        merged = schedules.limit_merges(asked, setting["tokens"], setting["protected"])
        assert (setting["tokens"] - np.cumsum(merged)).tolist() == left.tolist(), name


def test_a_list_longer_than_the_model():
    assert schedules.spread_merges([1, 2, 3, 4, 5], 4, True) == [1, 2, 3, 4]
    with pytest.raises(UserError, match="r has 5 entries, but the model has 4 blocks"):
        schedules.spread_merges([1, 2, 3, 4, 5], 4)


def test_recorded_counts_of_ratios(golden):
    case = golden("reduction/pitome_counts")
    arguments = case.meta["arguments"]
    for ratio in arguments["ratios"]:
        for method, protected in (("pitome", 1), ("tofu", 0)):
            left, counts = arguments["tokens"], []
            for _ in range(arguments["layers"]):
                left -= schedules.remove_for_ratio(ratio, left - protected)
                counts.append(left)
            recorded = case[f"output/ratio_{ratio}/{method}"]
            assert counts == recorded.tolist(), (ratio, method)


def test_a_rate_of_places_means_its_powers():
    """196 at 0.7^j, as the originals count: of the image, or of the tokens found."""
    assert schedules.count_at_places(0.7, 3, 196) == [137, 96, 67]
    assert schedules.count_at_places([0.7], 3, 196) == [137, 96, 67]
    assert schedules.count_at_places([140, 90, 60], 3, 196) == [140, 90, 60]
    assert schedules.rates_at_places([0.7, 0.5, 0.5], 3) == [0.7, 0.5, 0.5]
    found = 196
    kept = []
    for _ in range(3):
        kept.append(schedules.keep_of_found(0.7, found))
        found = kept[-1] + 1  # the fused token
    assert kept == [138, 98, 70]


def test_counts_at_places_merge_at_most_half():
    """TokenReduction's ToMe at 0.25 of 64 patches: 33 and 21 tokens, not 17 and 5."""
    counts = schedules.count_at_places(0.25, 2, 64)
    merges = schedules.merge_to_counts(counts, 64)
    assert (counts, merges) == ([16, 4], [48, 12])
    assert schedules.limit_merges(merges, 65, 1) == [32, 12]


def test_products_are_truncated_doubles():
    assert schedules.keep_of_image(0.29, 100) == 28
    assert schedules.keep_of_found(0.7, 10) == 7
    assert schedules.keep_of_found(0.07, 100) == 8  # 7.000000000000001
    assert schedules.remove_share(0.29, 100) == 28
    assert schedules.remove_share(13, 100) == 13
    assert schedules.remove_for_ratio(1, 100) == 0
    # the step between blocks is rounded first, so the last block falls short by one
    assert schedules.spread_merges((15, 1.0), 12)[-1] == 29


def test_a_number_for_every_block():
    assert schedules.rates_of_blocks((1, 0.7), 2) == [1.0, 0.7]
    assert schedules.counts_of_blocks((17, 9), 2, "prune_kept") == [17, 9]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: schedules.spread_merges(-1, 4), "r = -1 is a number of tokens"),
        (lambda: schedules.spread_merges([3, -1, 2], 4), "r = -1 is a number"),
        (lambda: schedules.spread_merges([3, 2.5, 1], 4), "r = 2.5 is a number"),
        (lambda: schedules.spread_merges((8, 1.5), 4), "from -1.0 to 1.0"),
        (lambda: schedules.spread_merges((8, 1.0), 1), "the model has one"),
        (lambda: schedules.spread_merges((8, -1), 4), r"write \(8, -1.0\)"),
        (lambda: schedules.limit_merges([8, 70], 65, 1), "cannot merge 70 tokens"),
        (lambda: schedules.count_at_places(0.0, 3, 16), "keep_rate = 0.0 is the share"),
        (lambda: schedules.count_at_places(1.2, 3, 16), "above 0, at most 1"),
        (lambda: schedules.count_at_places(0.2, 3, 16), "keeps none of 16 patches"),
        (lambda: schedules.count_at_places([9, 4], 3, 16), "2 entries for 3 places"),
        (lambda: schedules.count_at_places([0.5, 0.2], 2, 16), "whole, at least 0"),
        (lambda: schedules.count_at_places([20, 2], 2, 16), "the image's 16 patches"),
        (lambda: schedules.merge_to_counts([9, 12], 16), "grow"),
        (lambda: schedules.rates_at_places([0.5, 2], 2, "token_ratio"), "token_ratio"),
        (lambda: schedules.rates_of_blocks([1, 0.5], 3), "2 entries for 3 blocks"),
        (lambda: schedules.counts_of_blocks([9], 2, "prune_kept"), "prune_kept has 1"),
        (lambda: schedules.keep_of_found(1.5, 16), "keep_rate = 1.5"),
        (lambda: schedules.remove_for_ratio(0, 16), "ratio = 0 is the share"),
        (lambda: schedules.remove_share(-0.5, 16), "r = -0.5"),
    ],
)
def test_what_does_not_fit_is_refused(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call()
