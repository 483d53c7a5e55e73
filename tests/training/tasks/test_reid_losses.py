"""Identity and triplet losses against the recorded ones, and at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tokenjax.training.tasks import reid_losses


def test_identity_loss_is_the_recorded_one(golden, assert_close):
    case = golden("reid/label_smooth")
    loss, gradient = jax.value_and_grad(reid_losses.identity_loss)(
        case["input/scores"], case["input/labels"]
    )
    assert_close(loss, case["output/loss"], 1e-5)
    assert_close(gradient, case["grad_input/scores"], 1e-4)


@pytest.mark.parametrize("name", ["triplet_margin", "triplet_soft_margin"])
def test_triplet_loss_is_the_recorded_one(golden, assert_close, name):
    case = golden(f"reid/{name}")
    features, labels = case["input/features"], case["input/labels"]
    margin = case.meta["constructor_args"]["margin"]
    loss, gradient = jax.jit(
        jax.value_and_grad(lambda f: reid_losses.triplet_loss(f, labels, margin))
    )(features)
    assert_close(loss, case["output/loss"], 1e-5)
    assert_close(gradient, case["grad_input/features"], 1e-4)
    positive, negative = reid_losses.hardest(jnp.asarray(features), labels)
    assert_close(positive, case["output/dist_ap"], 1e-5)
    assert_close(negative, case["output/dist_an"], 1e-5)


def test_training_loss_is_the_recorded_one(golden, assert_close):
    case = golden("reid/training_loss")
    count = len(case.meta["constructor_args"]["dims"])
    pairs = [
        (case[f"input/scores_{i}"], case[f"input/features_{i}"]) for i in range(count)
    ]
    (total, losses), gradients = jax.jit(
        jax.value_and_grad(
            lambda pairs: reid_losses.reid_loss(pairs, case["input/labels"]),
            has_aux=True,
        )
    )(pairs)
    assert_close(total, case["output/total"], 1e-5)
    assert_close(losses, case["output/pair_losses"], 1e-5)
    for i, (scores, features) in enumerate(gradients):
        assert_close(scores, case[f"grad_input/scores_{i}"], 1e-4)
        assert_close(features, case[f"grad_input/features_{i}"], 1e-4)


def hardest_by_torch(features, labels):
    """The original's: distances, then `max` and `min` of each row's own and others."""
    squares = features.pow(2).sum(1, keepdim=True)
    squared = squares + squares.T - 2 * features @ features.T
    apart = squared.clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels[None]
    rows = len(features)
    positive = apart[same].view(rows, -1).max(1)[0]
    return positive, apart[~same].view(rows, -1).min(1)[0]


@pytest.mark.parametrize("margin", [None, 1.0])
@pytest.mark.parametrize("normalize", [False, True])
def test_of_equal_distances_the_first_has_the_gradient(margin, normalize):
    random = np.random.default_rng(5)
    labels = np.repeat(np.arange(4), 4)
    # Few places, all exact: distances tie, gaps are at the margin, images are equal.
    features = random.integers(-2, 3, (16, 2)).astype(np.float32)
    if normalize:  # along the axes, where dividing by the length is exact too
        features[np.arange(16), random.integers(0, 2, 16)] = 0
    given = torch.from_numpy(features).requires_grad_()
    used = given
    if normalize:
        used = given / (torch.norm(given, 2, -1, keepdim=True) + 1e-12)
    positive, negative = hardest_by_torch(used, torch.from_numpy(labels))
    target = torch.ones(16)
    if margin is None:
        expected = torch.nn.functional.soft_margin_loss(negative - positive, target)
    else:
        expected = torch.nn.functional.margin_ranking_loss(
            negative, positive, target, margin=margin
        )
    expected.backward()
    loss, gradient = jax.jit(
        jax.value_and_grad(
            lambda f: reid_losses.triplet_loss(f, labels, margin, normalize)
        )
    )(features)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, given.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_equal_features_have_no_gradient(normalize):
    labels = jnp.array([0, 0, 1, 1])
    for features in (jnp.ones((4, 3)), jnp.zeros((4, 3))):
        loss, gradient = jax.value_and_grad(reid_losses.triplet_loss)(
            features, labels, normalize=normalize
        )
        assert loss == pytest.approx(np.log(2))
        assert not gradient.any()


def test_the_nearest_stranger_is_pushed_and_the_farthest_friend_pulled():
    features = jnp.array([[0.0], [1.0], [3.0], [4.5]])
    labels = jnp.array([0, 0, 0, 1])
    positive, negative = reid_losses.hardest(features, labels)
    np.testing.assert_allclose(positive, [3, 2, 3, 1e-6], rtol=1e-5)
    np.testing.assert_allclose(negative, [4.5, 3.5, 1.5, 1.5])
    loss = reid_losses.triplet_loss(features, labels, margin=0.5, hard_factor=0.1)
    gaps = np.array([3.3 - 4.05, 2.2 - 3.15, 3.3 - 1.35, -1.35]) + 0.5
    assert loss == pytest.approx(np.maximum(gaps, 0).mean(), rel=1e-5)


def test_normalized_features_lose_their_length():
    features = jax.random.normal(jax.random.key(0), (8, 5))
    labels = jnp.arange(8) // 2
    longer = features * jnp.linspace(1, 9, 8)[:, None]
    np.testing.assert_allclose(
        reid_losses.triplet_loss(features, labels, normalize=True),
        reid_losses.triplet_loss(longer, labels, normalize=True),
        rtol=1e-5,
    )


@pytest.mark.parametrize("margin", [None, 0.3])
def test_a_single_identity_has_nothing_to_be_told_from(margin):
    features = jax.random.normal(jax.random.key(0), (4, 3))
    loss, gradient = jax.value_and_grad(reid_losses.triplet_loss)(
        features, jnp.zeros(4, int), margin
    )
    assert loss == 0
    assert not gradient.any()


def test_half_precision_features_are_compared_in_float32():
    # As bfloat16 differences these would be 0: 100 + 0.5 has no room in 8 bits.
    offset = jnp.array([[100.0, 0.0], [100.0, 0.25], [100.0, 1.0], [100.0, 1.5]])
    features = offset.astype(jnp.bfloat16)
    positive, negative = reid_losses.hardest(features, jnp.array([0, 0, 1, 1]))
    assert positive.dtype == jnp.float32
    np.testing.assert_allclose(positive, [0.25, 0.25, 0.5, 0.5], rtol=1e-2)
    np.testing.assert_allclose(negative, [1, 0.75, 0.75, 1.25], rtol=1e-2)
    assert reid_losses.identity_loss(features, jnp.array([0, 0, 1, 1])).dtype == (
        jnp.float32
    )
