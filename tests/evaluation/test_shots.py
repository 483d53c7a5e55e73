"""Accuracy by the number of training examples of a class."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenjax.evaluation import accuracy_by_shots


def test_groups_and_their_edges():
    counts = np.array([500, 101, 100, 20, 19, 1])
    recall = np.array([0.9, 0.7, 0.6, 0.4, 0.3, 0.1])
    groups = accuracy_by_shots(recall, counts)
    assert {name: group["classes"] for name, group in groups.items()} == {
        "many": 2,
        "medium": 2,
        "few": 2,
    }
    accuracies = [groups[name]["accuracy"] for name in ("many", "medium", "few")]
    np.testing.assert_allclose(accuracies, [0.8, 0.5, 0.2])
    assert json.loads(json.dumps(groups)) == groups


def test_an_empty_group_has_no_accuracy():
    groups = accuracy_by_shots(np.array([0.5, 0.7]), np.array([5000, 500]))
    assert groups["many"] == {
        "classes": 2,
        "left_out": 0,
        "accuracy": pytest.approx(0.6),
    }
    nothing = {"classes": 0, "left_out": 0, "accuracy": None}
    assert groups["medium"] == groups["few"] == nothing


@pytest.mark.parametrize("absent", [None, np.nan])
def test_a_class_without_an_example_enters_no_mean(absent):
    groups = accuracy_by_shots([0.5, absent, 0.8, absent], [500, 500, 3, 50])
    assert groups["many"] == {"classes": 2, "left_out": 1, "accuracy": 0.5}
    assert groups["few"] == {"classes": 1, "left_out": 0, "accuracy": 0.8}
    assert groups["medium"] == {"classes": 1, "left_out": 1, "accuracy": None}


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 300)), min_size=1),
    st.integers(0, 150),
    st.integers(0, 150),
)
def test_every_class_is_in_one_group(classes, first, second):
    recall, counts = map(np.array, zip(*classes, strict=True))
    few, many = sorted((first, second))
    groups = accuracy_by_shots(recall, counts, many, few).values()
    assert sum(group["classes"] for group in groups) == len(classes)
    total = sum(group["classes"] * (group["accuracy"] or 0) for group in groups)
    assert total == pytest.approx(recall.sum())


def test_bad_input():
    with pytest.raises(ValueError, match=r"many_shot \(10\).*few_shot \(20\)"):
        accuracy_by_shots(np.ones(2), np.ones(2), many_shot=10)
    with pytest.raises(ValueError, match="shapes"):
        accuracy_by_shots(np.ones(2), np.ones(3))
