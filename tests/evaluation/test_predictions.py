"""Scores by class, ranked, and written in three ways."""

import csv
import json

import numpy as np
import pytest

from tokenjax.errors import UserError
from tokenjax.evaluation import predictions
from tokenjax.evaluation.predictions import Predictions

LOGITS = np.array([[0, 2, 1], [3, 3, -1], [-1000, 1000, 0]], np.float32)
FOUND = Predictions(("a", "b", "c"), ("x", "y,z", "é"), LOGITS)
LABELLED = Predictions(
    FOUND.names,
    FOUND.classes,
    LOGITS,
    np.array([1, 1, 0], np.int32),
    np.array([0.5, 1.25, np.inf], np.float32),
)


def test_probabilities():
    shares = FOUND.probabilities
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    powers = np.exp([0, 2, 1])
    np.testing.assert_allclose(shares[0], powers / powers.sum(), rtol=1e-6)
    assert shares[2].tolist() == [0, 1, 0]


def test_the_most_probable():
    """Of equal ones the first comes first, as the evaluation ranks them."""
    assert FOUND.best == ["y,z", "x", "y,z"]
    assert FOUND.order.tolist() == [[1, 2, 0], [0, 1, 2], [1, 2, 0]]
    assert [score.name for score in FOUND.top(2)[0]] == ["y,z", "é"]
    assert FOUND.top(2)[0][0].probability == FOUND.probabilities[0, 1]
    assert [len(scores) for scores in FOUND] == [3, 3, 3]
    assert len(FOUND) == 3


def test_csv(tmp_path):
    predictions.write(tmp_path / "x.csv", LABELLED, topk=2)
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [
        *("file", "label", "loss", "class", "probability", "class_2", "probability_2"),
        *("p(x)", "p(y,z)", "p(é)"),
    ]
    assert rows[2][:7] == ["b", "y,z", "1.25", "x", "0.495463", "y,z", "0.495463"]
    assert rows[3][2] == ""
    assert [float(row[8]) for row in rows[1:]] == pytest.approx(
        FOUND.probabilities[:, 1].tolist(), rel=1e-5
    )


def test_json(tmp_path):
    predictions.write(tmp_path / "x.json", LABELLED, about={"run": "mine"})
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["run"] == "mine"
    assert document["classes"] == list(FOUND.classes)
    assert [image["label"] for image in document["images"]] == ["y,z", "y,z", "x"]
    assert document["images"][2]["loss"] is None
    shares = [image["probabilities"] for image in document["images"]]
    np.testing.assert_array_equal(np.float32(shares), FOUND.probabilities)


def test_npz(tmp_path):
    predictions.write(tmp_path / "x.npz", LABELLED)
    with np.load(tmp_path / "x.npz") as arrays:  # no pickle
        np.testing.assert_array_equal(arrays["logits"], LOGITS)
        assert arrays["classes"].tolist() == list(FOUND.classes)
        assert arrays["prediction"].tolist() == [1, 0, 1]
        assert arrays["label"].tolist() == [1, 1, 0]
    predictions.write(tmp_path / "y.npz", FOUND)
    with np.load(tmp_path / "y.npz") as arrays:
        assert "label" not in arrays


def test_names_that_are_no_text(tmp_path):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    odd = Predictions((name,), FOUND.classes, LOGITS[:1])
    predictions.write(tmp_path / "x.csv", odd)
    assert b"caf\xe9.png" in (tmp_path / "x.csv").read_bytes()
    predictions.write(tmp_path / "x.json", odd)
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["images"][0]["file"] == name


def test_files_that_will_not_do(tmp_path):
    for path, part in (
        ("x.txt", "must end in .csv or .json or .npz"),
        ("gone/x.csv", "its directory does not exist"),
    ):
        with pytest.raises(UserError, match=part):
            predictions.check_format(tmp_path / path, "output")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match="is a directory"):
        predictions.check_format(tmp_path / "folder.csv", "output")
