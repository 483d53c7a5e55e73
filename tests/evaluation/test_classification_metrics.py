"""Classification metrics against hand counts and scikit-learn."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tokenjax import evaluation

LABELS = np.array([0, 0, 1, 1, 2])
RANKED = np.array([[0, 1, 2], [1, 0, 2], [1, 2, 0], [1, 0, 2], [0, 1, 2]])
LOSSES = np.array([0.1, 0.9, 0.2, 0.3, 1.5])


def test_hand_counts():
    summary = evaluation.summarize(LABELS, RANKED, LOSSES, 4, ["a", "b", "c", "d"])
    assert summary["examples"] == 5
    assert summary["loss"] == pytest.approx(0.6)
    assert summary["top1"] == pytest.approx(3 / 5)
    assert summary["top5"] is None  # there are four classes
    assert summary["confusion_matrix"] == [
        [1, 1, 0, 0],
        [0, 2, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    names = [row["name"] for row in summary["per_class"]]
    assert names == ["a", "b", "c", "d"]
    assert [row["support"] for row in summary["per_class"]] == [2, 2, 1, 0]
    # d has no example, so nothing is known of it: the macro means are of three classes.
    absent = {"precision": None, "recall": None, "f1": None, "support": 0}
    assert summary["per_class"][3] == {"name": "d", **absent}
    assert (summary["macro"]["classes"], summary["macro"]["left_out"]) == (3, 1)
    assert summary["macro"]["recall"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert summary["macro"]["precision"] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert summary["weighted"]["recall"] == pytest.approx(3 / 5)


def test_recorded_metrics(golden):
    case = golden("cifar_vit/metrics")
    labels, predictions = case["input/targets"], case["input/predictions"]
    summary = evaluation.summarize(
        labels, predictions[:, None], np.zeros(len(labels)), 10
    )
    assert summary["top1"] == pytest.approx(case["output/accuracy"], abs=1e-12)
    for score in ("precision", "recall", "f1"):
        for average in ("macro", "weighted"):
            recorded = case[f"output/{score}_{average}"]
            assert summary[average][score] == pytest.approx(recorded, abs=1e-12)
        per_class = [row[score] for row in summary["per_class"]]
        recorded = case[f"output/{score}_per_class"]
        np.testing.assert_allclose(per_class, recorded, atol=1e-12)
    matrix = np.array(summary["confusion_matrix"])
    np.testing.assert_array_equal(matrix, case["output/confusion_matrix"])


def test_recorded_top_k(golden):
    case = golden("cifar_vit/metrics")
    labels, logits = case["input/logit_targets"], case["input/logits"]
    ranked = np.argsort(-logits, axis=1)[:, :5]
    summary = evaluation.summarize(labels, ranked, np.zeros(len(labels)), 10)
    percent = [100 * summary["top1"], 100 * summary["top5"]]
    np.testing.assert_allclose(percent, case["output/topk_accuracy"], rtol=1e-6)


def test_agrees_with_scikit_learn_and_is_json():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 200)
    ranked = np.stack([rng.permutation(10)[:5] for _ in labels])
    summary = evaluation.summarize(labels, ranked, rng.random(200), 10)
    f1 = metrics.f1_score(labels, ranked[:, 0], average="macro")
    assert summary["macro"]["f1"] == pytest.approx(f1)
    assert summary["top5"] == pytest.approx((ranked == labels[:, None]).any(1).mean())
    assert json.loads(json.dumps(summary)) == summary


def test_a_class_without_an_example_is_in_no_mean_though_predicted():
    summary = evaluation.summarize(
        np.array([0, 0]), np.array([[0], [1]]), np.ones(2), 3
    )
    assert [row["recall"] for row in summary["per_class"]] == [0.5, None, None]
    assert [row["precision"] for row in summary["per_class"]] == [1.0, None, None]
    assert summary["macro"] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "classes": 1,
        "left_out": 2,
    }
    assert (summary["top1"], summary["top5"]) == (0.5, None)


def test_a_class_never_predicted_was_there_to_be_found():
    summary = evaluation.summarize(
        np.array([0, 0, 1]), np.array([[0], [0], [0]]), np.ones(3), 2
    )
    assert summary["per_class"][1] == {
        "name": "1",
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "support": 1,
    }
    assert summary["macro"]["precision"] == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize(("classes", "expected"), [(3, None), (4, None), (5, 1.0)])
def test_top_5_needs_five_classes(classes, expected):
    labels = np.arange(classes)
    ranked = np.tile(np.arange(classes)[::-1], (classes, 1))[:, :5]
    found = evaluation.top_accuracies(labels, ranked, classes)
    assert found == {"top1": pytest.approx(1 / classes), "top5": expected}


@given(st.data(), st.integers(1, 8))
def test_means_are_of_the_classes_that_have_examples(data, classes):
    few = st.lists(st.integers(0, classes - 1), min_size=1, max_size=12)
    labels = np.array(data.draw(few))
    predicted = np.array(data.draw(few))
    predicted = np.resize(predicted, labels.shape)
    summary = evaluation.summarize(
        labels, predicted[:, None], np.zeros(len(labels)), classes
    )
    there = sorted(set(labels.tolist()))
    assert summary["macro"]["left_out"] == classes - len(there)
    recalls = {c: (predicted[labels == c] == c).mean() for c in there}
    for index, row in enumerate(summary["per_class"]):
        assert row["recall"] == recalls.get(index)
    assert summary["macro"]["recall"] == pytest.approx(np.mean([*recalls.values()]))
    expected = metrics.precision_score(
        labels, predicted, labels=there, average="macro", zero_division=0
    )
    assert summary["macro"]["precision"] == pytest.approx(expected)


def test_a_loss_that_is_no_number_is_null():
    summary = evaluation.summarize(LABELS, RANKED, LOSSES * np.inf, 4)
    assert summary["loss"] is None
    assert summary["top1"] == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("labels", "ranked", "losses", "message"),
    [
        (LABELS[:0], RANKED[:0], LOSSES[:0], "n > 0"),
        (LABELS, RANKED[:4], LOSSES, "top_predictions"),
        (LABELS, RANKED[:, 0], LOSSES, "top_predictions"),
        (LABELS, RANKED, LOSSES[:4], "losses"),
        (LABELS + 9, RANKED, LOSSES, "within 0..3"),
        (LABELS, RANKED - 1, LOSSES, "within 0..3"),
        (LABELS.astype(float), RANKED, LOSSES, "integers"),
    ],
)
def test_bad_input(labels, ranked, losses, message):
    with pytest.raises(ValueError, match=message):
        evaluation.summarize(labels, ranked, losses, 4)


def test_wrong_number_of_names():
    with pytest.raises(ValueError, match="2 class names for 4"):
        evaluation.summarize(LABELS, RANKED, LOSSES, 4, ["a", "b"])


def test_the_text_report_is_scikit_learns():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 200)
    best = np.where(random.random(200) < 0.6, labels, random.integers(0, 4, 200))
    names = ["a", "b", "a long name of a class", "d"]
    ranked = np.stack([best, (best + 1) % 4], axis=1)
    summary = evaluation.summarize(labels, ranked, np.ones(200), 4, names)
    report = evaluation.write_report({"split": "test", **summary})
    heading, blank, *table = report.splitlines()
    assert heading == (
        f"test: 200 images, top-1 {summary['top1']:.2%}, top-5 not measured, "
        "loss 1.0000"
    )
    assert blank == ""
    theirs = metrics.classification_report(labels, best, target_names=names, digits=3)
    assert [line.split() for line in table] == [
        line.split() for line in theirs.splitlines()
    ]
    assert len({len(line) for line in table if line}) == 1


def test_the_text_report_of_a_class_without_images():
    summary = evaluation.summarize(LABELS, RANKED, LOSSES, 4, ["a", "b", "c", "d"])
    lines = evaluation.write_report(summary).splitlines()
    assert lines[1] == "averages leave out 1 of 4 classes: no image"
    row = next(line.split() for line in lines if line.split()[:1] == ["d"])
    assert row == ["d", "-", "-", "-", "0"]
