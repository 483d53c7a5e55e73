"""The loss that evaluations report: plain, or the training's criterion, and named."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers.float_tasks import make_task

from tokenjax import models
from tokenjax.errors import UserError
from tokenjax.training.remarks import find_remarks
from tokenjax.training.settings import Settings
from tokenjax.training.tasks.classification import Classification

CLASSES, EXAMPLES = 5, 40
COUNTS = np.array([50, 40, 20, 10, 5])
WEIGHTS = {"imbalance": {"class_weights": "inverse_frequency"}}
SMOOTHED = {"label_smoothing": 0.1}


def criterion_task(settings, counts=COUNTS):
    settings = Settings.from_config({"evaluation_loss": "criterion", **settings})
    return make_task(models.create("vit", img_size=16, depth=1), settings, counts)


def evaluate(settings, logits, labels):
    """Return the loss in the log, and evaluation's summary; they say the same."""
    task = criterion_task(settings)
    outputs = task.outputs(jnp.asarray(logits), {}, {"label": jnp.asarray(labels)})
    outputs = {key: np.asarray(value) for key, value in outputs.items()}
    logged, summary = task.scalars(outputs)["loss"], task.summarize(outputs)
    assert summary["loss"] == pytest.approx(logged, abs=1e-6)
    return logged, summary


@pytest.fixture
def batch():
    random = np.random.default_rng(3)
    logits = 3 * random.normal(size=(EXAMPLES, CLASSES)).astype(np.float32)
    return logits, random.integers(0, CLASSES, EXAMPLES)


def by_torch(logits, labels, **how):
    found = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), **how
    )
    return pytest.approx(float(found), abs=1e-6)


def test_the_criterion_is_pytorchs(batch):
    weights = 1 / COUNTS
    weights = torch.tensor(weights * CLASSES / weights.sum(), dtype=torch.float32)
    plain = by_torch(*batch)
    smoothed = by_torch(*batch, label_smoothing=0.1)
    weighted = by_torch(*batch, weight=weights)
    adjusted = batch[0] + np.log(COUNTS / COUNTS.sum()).astype(np.float32)
    for settings, expected, name in [
        ({}, plain, "cross_entropy"),
        (SMOOTHED, smoothed, "cross_entropy with label_smoothing 0.1"),
        (WEIGHTS, weighted, "cross_entropy with class_weights inverse_frequency"),
        (
            {"imbalance": {"logit_adjustment": 1.0}},
            by_torch(adjusted, batch[1]),
            "cross_entropy with logit_adjustment 1",
        ),
        (
            {**SMOOTHED, **WEIGHTS, "evaluation_loss": "cross_entropy"},
            plain,
            "cross_entropy",
        ),
    ]:
        logged, summary = evaluate(settings, *batch)
        assert logged == expected
        assert summary["criterion"] == name
        (line, *_) = Classification.headline({"split": "test", **summary})
        shown = f" ({name})" if name != "cross_entropy" else ""
        assert f"loss {logged:.4f}{shown} on 40 images" in line


def test_a_recorded_one(golden):
    case = golden("cifar_vit/losses")
    counts = case.meta["constructor_args"]["counts"]
    smoothing = case.meta["constructor_args"]["smoothing"]
    label = jnp.asarray(case["input/labels"])
    for settings, name in [
        ({}, "plain"),
        (WEIGHTS, "weighted"),
        ({"label_smoothing": smoothing}, "smoothed"),
    ]:
        task = criterion_task(settings, counts)
        outputs = task.outputs(jnp.asarray(case["input/logits"]), {}, {"label": label})
        outputs = {key: np.asarray(value) for key, value in outputs.items()}
        recorded = pytest.approx(float(case[f"output/{name}"]), abs=1e-6)
        assert task.scalars(outputs)["loss"] == recorded


def test_a_run_says_so_at_its_start():
    def remarks(**config):
        config = {"batch_size": 64, "epochs": 20.0, **config}
        return find_remarks(Settings.from_config(config), 640)

    (said,) = remarks(evaluation_loss="criterion", **SMOOTHED)
    assert said.startswith(
        "validation/loss is the training's criterion, cross_entropy with "
        "label_smoothing 0.1"
    )
    assert remarks(evaluation_loss="criterion") == remarks(**SMOOTHED) == []


def test_a_task_without_such_a_loss_refuses_it():
    config = {"task": "reid", "optimizer": {"name": "adam"}, "batch_size": 8}
    Settings.from_config(config)
    with pytest.raises(UserError, match="reports no loss of an evaluation"):
        Settings.from_config({**config, "evaluation_loss": "criterion"})
