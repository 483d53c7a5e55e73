"""How a router routes: hand cases, and target patches counted pixel by pixel."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenjax.evaluation.routing import summarize_routing, target_patches


def test_target_patches_by_hand():
    # 8 pixels, a grid of 2: patches of 4x4
    boxes = [[0, 0, 4, 4], [2, 0, 6, 4], [1, 1, 4, 4], [0, 0, 8, 8], [3, 3, 5, 5]]
    expected = [
        [1, 0, 0, 0],
        [1, 0, 1, 0],  # half of two patches
        [1, 0, 0, 0],  # 9 of 16 pixels
        [1, 1, 1, 1],
        [0, 0, 0, 0],  # a pixel of each
    ]
    found = target_patches(np.array(boxes), image_size=8, grid=2)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected)
    all_of_it = target_patches(np.array(boxes), image_size=8, grid=2, filled=1.0)
    assert all_of_it.sum(1).tolist() == [1, 0, 0, 4, 0]


def test_rows_come_before_columns():
    # Above right: top, left, bottom, right
    (found,) = target_patches(np.array([[0, 6, 3, 9]]), image_size=9, grid=3)
    assert np.flatnonzero(found).tolist() == [2]


@given(data=st.data(), grid=st.integers(1, 5), side=st.integers(1, 4))
def test_target_patches_pixel_by_pixel(data, grid, side):
    size = grid * side
    edge = st.integers(0, size)
    boxes = data.draw(st.lists(st.tuples(edge, edge, edge, edge), min_size=1))
    filled = data.draw(st.sampled_from([0.5, 0.25, 1.0]))
    expected = []
    for top, left, bottom, right in boxes:
        image = np.zeros((size, size))
        image[top:bottom, left:right] = 1  # empty where they are crossed
        share = image.reshape(grid, side, grid, side).mean(axis=(1, 3))
        expected.append(share.ravel() >= filled)
    found = target_patches(np.array(boxes), size, grid, filled)
    np.testing.assert_array_equal(found, expected)


def test_summary_by_hand():
    masks = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    scores = np.array(
        [[0.9, 0.1, 0.1, 0.9], [0.2, 0.2, 0.2, 0.2], [0.5, 0.7, 0.5, 0.7]]
    )
    boxes = np.array([[0, 0, 4, 8], [4, 4, 8, 8], [0, 0, 4, 4]])  # 2, 1 and 1 patches
    found = summarize_routing(masks, scores, boxes, image_size=8)
    assert json.loads(json.dumps(found)) == found
    assert found == pytest.approx(
        {
            "ratio": 0.5,
            "ratio_std": (1 / 6) ** 0.5,
            "none_selected": 1 / 3,
            "all_selected": 1 / 3,
            "score_mean": 5.2 / 12,
            "score_std": 0.5 / 3,
            "target_recall": 2 / 4,
            "target_patches": 4 / 3,
            "other_ratio": 4 / 8,
        }
    )
    without = summarize_routing(masks, scores)
    assert without == {key: found[key] for key in without}
    assert set(found) - set(without) == {
        "target_recall",
        "target_patches",
        "other_ratio",
    }


@pytest.mark.parametrize(
    ("box", "recall", "other"), [([0, 0, 8, 8], 0.25, None), ([3, 3, 5, 5], None, 0.25)]
)
def test_a_share_of_nothing_is_none(box, recall, other):
    masks = np.array([[0, 1, 0, 0]])
    found = summarize_routing(masks, masks / 2, np.array([box]), 8)
    assert (found["target_recall"], found["other_ratio"]) == (recall, other)
    assert found["ratio_std"] is None  # one image has no spread
    assert json.loads(json.dumps(found)) == found


@given(st.data(), st.integers(1, 4), st.integers(1, 3))
def test_recall_and_others_make_up_the_ratio(data, images, grid):
    flags = st.lists(
        st.integers(0, 1), min_size=images * grid**2, max_size=images * grid**2
    )
    masks = np.array(data.draw(flags)).reshape(images, -1)
    low, high = st.integers(0, grid), st.integers(0, 4 * grid)
    boxes = data.draw(
        st.lists(st.tuples(low, low, high, high), min_size=images, max_size=images)
    )
    found = summarize_routing(masks, masks * 0.5, np.array(boxes), 4 * grid)
    share = found["target_patches"] / grid**2
    parts = [(share, "target_recall"), (1 - share, "other_ratio")]
    total = sum(weight * (found[key] or 0) for weight, key in parts)
    assert total == pytest.approx(found["ratio"])
    assert (found["target_recall"] is None) == (found["target_patches"] == 0)


def test_bad_input():
    with pytest.raises(ValueError, match=r"\(n, patches\).*\(2, 4\) and \(2, 3\)"):
        summarize_routing(np.ones((2, 4)), np.ones((2, 3)))
    for shape in ((0, 4), (4,)):
        with pytest.raises(ValueError, match=r"must both be \(n, patches\)"):
            summarize_routing(np.ones(shape), np.ones(shape))
