"""The re-identification task: its batches, its losses, and what moves when."""

import functools
import shutil

import jax
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables
from helpers.reid_tasks import load, make, rows

from tokenjax import data, experiment
from tokenjax.errors import DatasetError, UserError
from tokenjax.training.settings import Settings
from tokenjax.training.state import TrainState, make_init, make_train_step
from tokenjax.training.tasks import reid_losses

UNCHANGED = {"flip": 0.0, "crop_padding": 0, "random_erasing": 0.0}
SURE = {"sdtps_use_gumbel": False}


def test_a_batch_is_some_instances_of_some_identities(dataset):
    task = make(dataset, {"instances": 2}, batch_size=6)
    batches = list(task.train_batches(dataset.train, 0, 9))
    for batch in batches:
        _, counts = np.unique(batch["label"], return_counts=True)
        assert counts.tolist() == [2, 2, 2]
        assert batch["rgb"].shape == (6, 32, 16, 3)
    resumed = task.train_batches(dataset.train, 5, 9)
    for ours, theirs in zip(resumed, batches[5:], strict=True):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize(
    ("model", "reid", "names"),
    [
        ({}, {}, {"fused", "direct"}),
        (
            {"direct": False},
            {"identity_weight": 0.5, "triplet_weight": 2.0, "triplet_margin": 0.3},
            {"fused", "rgb", "nir", "tir"},
        ),
        ({}, {"fused_weight": 0.25, "fused_triplet_weight": 0.5}, {"fused", "direct"}),
        ({"fusion": "none"}, {}, {"direct"}),
    ],
)
def test_the_loss_is_that_of_all_pairs(dataset, model, reid, names):
    task = make(dataset, UNCHANGED | reid, SURE | model)
    variables = drawn_variables(task.model, *task.model.example_inputs(1))
    params, statistics = variables["params"], {"batch_stats": variables["batch_stats"]}
    batch = rows(dataset.train, [0, 1, 2, 6, 7, 12, 13, 14])
    state = TrainState(0, params, statistics, None, None)
    loss, (after, scalars) = jax.jit(task.loss)(state, batch, jax.random.key(1))

    images = task.prepare(batch)
    outputs, expected_after = jax.jit(
        functools.partial(task.model.apply, train=True, mutable=["batch_stats"])
    )(variables, images, batch["camera"])
    pairs = task.model.pairs(outputs)
    assert set(pairs) == names
    chosen = task.settings.reid
    margin = chosen.triplet_margin or None
    expected = of_scalars = 0.0
    for name, (scores, feature) in pairs.items():
        fused = name == "fused"
        whole = chosen.fused_weight if fused else 1.0
        of_triplet = chosen.triplet_weight
        of_triplet *= chosen.fused_triplet_weight if fused else 1.0
        identity = reid_losses.identity_loss(scores, batch["label"], 0.1)
        triplet = reid_losses.triplet_loss(feature, batch["label"], margin)
        expected += whole * (chosen.identity_weight * identity + of_triplet * triplet)
        of_scalars += whole * (
            chosen.identity_weight * scalars[f"identity_{name}"]
            + of_triplet * scalars[f"triplet_{name}"]
        )
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert of_scalars == pytest.approx(float(loss), rel=1e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
        after,
        expected_after,
    )


def test_randomness_is_a_function_of_the_key(task, dataset, variables):
    batch = rows(dataset.train, range(8))
    statistics = {"batch_stats": variables["batch_stats"]}

    @jax.jit
    def loss(key):
        state = TrainState(0, variables["params"], statistics, None, None)
        return task.loss(state, batch, key)[0]

    first, again, other = (float(loss(jax.random.key(seed))) for seed in (1, 1, 2))
    assert first == again != other


@pytest.fixture(scope="module")
def without_some(directory, tmp_path_factory):
    """The set with the NIR image of the first sample gone, and TIR of the second."""
    root = tmp_path_factory.mktemp("incomplete") / "set"
    shutil.copytree(directory, root)
    for part in ("train_171", "test"):
        first, second = sorted(path.name for path in (root / part / "RGB").iterdir())[
            :2
        ]
        (root / part / "NI" / first).unlink()
        (root / part / "TI" / second).unlink()
    return root


def test_images_that_are_not_on_disk_are_zeros_to_the_model(without_some, dataset):
    with pytest.raises(DatasetError, match="4 images are not on disk"):
        load(without_some)
    incomplete = load(without_some, missing="zeros")
    task = make(incomplete, {"flip": 1.0, "random_erasing": 1.0})
    for name in ("train", "test"):
        split = incomplete.split(name)
        batch, whole = rows(split, range(4)), rows(dataset.split(name), range(4))
        np.testing.assert_array_equal(batch["present"].sum(1), [2, 2, 3, 3])
        for key in (None, jax.random.key(0)):
            images, expected = task.prepare(batch, key), task.prepare(whole, key)
            assert not images["nir"][0].any()
            assert not images["tir"][1].any()
            for place, modality in enumerate(("rgb", "nir", "tir")):
                there = np.asarray(batch["present"][:, place])
                np.testing.assert_array_equal(
                    images[modality][there], expected[modality][there]
                )
                assert np.abs(images[modality][there]).max() > 0.1


def moved(before, after):
    """Which leaves differ, by path."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): not np.array_equal(
            *pair
        )
        for (path, *pair) in (
            (path, old, new)
            for (path, old), new in zip(
                jax.tree_util.tree_leaves_with_path(before),
                jax.tree.leaves(after),
                strict=True,
            )
        )
    }


@pytest.mark.long  # two compilations of all of DeMo
def test_the_fused_branch_waits_for_the_direct_one(dataset):
    delay = 2 * 8 / len(dataset.train)  # two steps, in epochs
    task = make(dataset, {"direct_only_epochs": delay})
    assert task.fused_from == 2
    optimizer, schedule = task.optimizer()
    init = make_init(task, optimizer, task.settings)
    states = [jax.jit(init)(jax.random.key(0))]
    step = jax.jit(make_train_step(task, optimizer, schedule, task.settings))
    losses = []
    for batch in task.train_batches(dataset.train, 0, 3):
        state, scalars = step(states[-1], batch)
        states.append(state)
        losses.append({name: float(value) for name, value in scalars.items()})

    delayed = ("sdtps", "bottleneck_fused", "classifier_fused")
    waiting = moved(states[0].params, states[2].params)
    never = {path for path in waiting if path.endswith("bias") and "bottleneck" in path}
    later = {path for path in waiting if path.startswith(delayed)}
    assert {path for path, changed in waiting.items() if not changed} == never | later
    moments = moved(states[0].opt_state, states[2].opt_state)
    asleep = {path for path in moments if "later" in path and "step" not in path}
    assert len(asleep) > 2 * len(later - never)  # two moments each, and a count
    assert not any(moments[path] for path in asleep)
    at_last = moved(states[2].params, states[3].params)
    assert {path for path, changed in at_last.items() if not changed} == never
    for row in losses:
        weighted = {
            name: 0.25 * row[f"identity_{name}"] + row[f"triplet_{name}"]
            for name in ("direct", "fused")
        }
        total = sum(weighted.values()) if row is losses[2] else weighted["direct"]
        assert row["loss"] == pytest.approx(total, rel=1e-5)
        assert (row["gradient_norm_fusion"] > 0) is (row is losses[2])


@pytest.mark.parametrize("fusion", ["sdtps", "hdm_atm", "none"])
def test_gradients_are_logged_by_parts_that_are_everything(dataset, fusion):
    task = make(dataset, model={"fusion": fusion, "feat_dim": 64})
    shapes = jax.eval_shape(task.init, jax.random.key(0))["params"]
    gradients = jax.tree.map(lambda leaf: np.ones(leaf.shape), shapes)
    norms = task.gradient_scalars(gradients)
    assert set(norms) == {f"gradient_norm_{k}" for k in ("backbone", "fusion", "heads")}
    assert bool(norms["gradient_norm_fusion"] > 0) is (fusion != "none")
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    squares = sum(float(norm) ** 2 for norm in norms.values())
    assert squares == pytest.approx(count, rel=1e-5)


def test_augmented_examples_show_all_modalities(task, dataset):
    examples = task.augmented_examples(dataset.train, 4)
    assert examples.shape == (4, 32, 3 * 16, 3)
    assert 0 <= examples.min() < examples.max() <= 1


def test_what_does_not_fit_is_refused(dataset):
    digits = data.load({"source": "digits"})
    with pytest.raises(UserError, match='task "reid" needs a re-identification set'):
        make(digits, model={"image_size": (32, 32)})
    square = {"image_size": (16, 16)}
    with pytest.raises(UserError, match=r"model\.image_size is .* but rgbnt201 has"):
        make(dataset, model=square)
    with pytest.raises(UserError, match=r"is 8 identities x .*4, but rgbnt201 has 4"):
        make(dataset, batch_size=32)
    with pytest.raises(UserError, match=r"sparse_ratio must be within \(0, 1\]"):
        make(dataset, model={"sdtps_sparse_ratio": 1.5})


@pytest.mark.parametrize(
    ("width", "message"),
    [(16, "vit takes square images"), (32, 'task "reid" trains demo, not vit')],
)
def test_a_classifier_is_not_trained_as_demo(directory, width, message):
    model = {"name": "vit", "patch_size": 4}
    config = {"task": "reid", "batch_size": 8, "model": model}
    with pytest.raises(UserError, match=message):
        experiment.make_task(Settings.from_config(config), load(directory, width=width))
