"""Cross-entropy and its answers to imbalance, against recorded values and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.errors import UserError
from tokenjax.training.tasks.losses import (
    cross_entropy,
    inverse_frequency_weights,
    log_prior,
)

value_and_gradient = jax.value_and_grad(cross_entropy)


def random_batch(seed=0, batch=6, classes=4):
    random = np.random.default_rng(seed)
    logits = jnp.asarray(random.normal(size=(batch, classes)), jnp.float32)
    labels, others = random.integers(0, classes, (2, batch))
    return logits, labels, others, random.uniform(0.2, 3.0, classes)


@pytest.mark.parametrize("name", ["plain", "weighted", "smoothed"])
def test_recorded_losses(golden, assert_close, name):
    case = golden("cifar_vit/losses")
    more = {
        "plain": {},
        "weighted": {"class_weights": case["output/class_weights"]},
        "smoothed": {"label_smoothing": case.meta["constructor_args"]["smoothing"]},
    }[name]
    logits = jnp.asarray(case["input/logits"])
    loss, gradient = value_and_gradient(logits, case["input/labels"], **more)
    assert_close(loss, case[f"output/{name}"], 1e-6, name)
    assert_close(gradient, case[f"output/grad_{name}"], 1e-6, f"grad_{name}")


@pytest.mark.parametrize(
    ("share", "recorded"),
    [("input/lam", "mixup_loss"), ("output/cutmix_lam", "cutmix_loss")],
)
def test_recorded_mixed_losses(golden, assert_close, share, recorded):
    case = golden("cifar_vit/mixing")
    loss = cross_entropy(
        jnp.asarray(case["input/logits"]),
        case["input/labels"],
        other_labels=case["output/labels_b"],
        share=case[share],
    )
    assert_close(loss, case[f"output/{recorded}"], 1e-6, recorded)


def test_recorded_class_weights(golden):
    case = golden("cifar_vit/losses")
    counts = np.bincount(case["input/training_labels"])
    np.testing.assert_array_equal(counts, case.meta["constructor_args"]["counts"])
    weights = inverse_frequency_weights(counts)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, case["output/class_weights"], rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_options_it_is_the_plain_mean(smoothing):
    logits, labels, *_ = random_batch()
    targets = optax.smooth_labels(jax.nn.one_hot(labels, 4), smoothing)
    mean = optax.softmax_cross_entropy(logits, targets).mean()
    assert cross_entropy(logits, labels, label_smoothing=smoothing) == mean


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.floats(0, 1), st.floats(0, 0.5), st.booleans())
def test_everything_at_once_by_hand(seed, share, smoothing, weigh):
    logits, labels, others, class_weights = random_batch(seed)
    weights = class_weights if weigh else np.ones(4)
    logs = np.asarray(jax.nn.log_softmax(logits), np.float64)
    above = below = 0.0
    for row, pair in enumerate(zip(labels, others, strict=True)):
        for label, part in zip(pair, (share, 1 - share), strict=True):
            target = (1 - smoothing) * np.eye(4)[label] + smoothing / 4
            above -= part * weights[label] * target @ logs[row]
            below += part * weights[label]
    loss = cross_entropy(
        logits,
        labels,
        label_smoothing=smoothing,
        class_weights=class_weights if weigh else None,
        other_labels=others,
        share=share,
    )
    assert float(loss) == pytest.approx(above / below, rel=1e-5)


def test_mixing_at_its_ends_and_with_itself(assert_close):
    logits, labels, others, weights = random_batch()
    options = {"class_weights": weights, "label_smoothing": 0.1}
    first = cross_entropy(logits, labels, **options)
    second = cross_entropy(logits, others, **options)

    def mixed(a, b, share):
        return cross_entropy(logits, a, other_labels=b, share=share, **options)

    assert_close(mixed(labels, others, 1.0), first, 1e-6)
    assert_close(mixed(labels, others, 0.0), second, 1e-6)
    assert_close(mixed(labels, labels, 0.3), first, 1e-6)
    assert_close(mixed(labels, others, 0.3), mixed(others, labels, 0.7), 1e-6)
    # A share of each pair's own.
    assert_close(mixed(labels, others, jnp.ones(6)), first, 1e-6)


def test_it_traces_with_a_share_on_the_device():
    logits, labels, others, _ = random_batch()
    jitted = jax.jit(
        lambda share: cross_entropy(logits, labels, other_labels=others, share=share)
    )
    expected = cross_entropy(logits, labels, other_labels=others, share=0.25)
    assert float(jitted(0.25)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"logits": jnp.ones(4)}, r"logits must be \(batch, classes\)"),
        ({"labels": np.zeros(5, int)}, r"labels must be \(6,\), got shape \(5,\)"),
        ({"class_weights": np.ones(3)}, r"class_weights must be \(4,\)"),
        ({"other_labels": np.zeros((6, 1), int)}, r"other_labels must be \(6,\)"),
        ({"share": np.ones((6, 1))}, r"share must be \(6,\)"),
    ],
)
def test_shapes_that_disagree_are_refused(more, message):
    logits, labels, *_ = random_batch()
    with pytest.raises(ValueError, match=message):
        cross_entropy(**{"logits": logits, "labels": labels, **more})


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=20))
def test_weights_and_prior_of_any_counts(counts):
    counts = np.array(counts)
    weights, prior = inverse_frequency_weights(counts), log_prior(counts)
    assert weights.sum() == pytest.approx(len(counts), rel=1e-5)
    # Every class weighs the same over the whole training split.
    np.testing.assert_allclose(weights * counts, (weights * counts)[0], rtol=1e-5)
    assert prior.dtype == weights.dtype == np.float32
    np.testing.assert_allclose(np.exp(prior), counts / counts.sum(), rtol=1e-5)


@pytest.mark.parametrize("function", [inverse_frequency_weights, log_prior])
def test_a_class_without_examples_is_named(function):
    with pytest.raises(UserError, match="class 3 has no training examples: "):
        function(np.array([5, 4, 3, 0, 1]))


def test_logit_adjustment_is_no_loss_for_a_model_that_knows_the_prior_alone():
    # Plain logits of 0 and tau = 1 predict the prior: the loss is its entropy.
    counts = np.array([6, 3, 1])
    labels = np.repeat(np.arange(3), counts)
    loss = cross_entropy(jnp.zeros((10, 3)) + log_prior(counts), labels)
    share = counts / 10
    assert float(loss) == pytest.approx(-(share * np.log(share)).sum(), rel=1e-6)
