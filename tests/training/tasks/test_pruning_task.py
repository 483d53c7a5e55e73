"""The pruning task's losses, its teacher, and what it refuses."""

import types

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables

from tokenjax import experiment, models, storage
from tokenjax.data import ArraySplit
from tokenjax.errors import UserError
from tokenjax.training import default_config
from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.schedule import make_schedule
from tokenjax.training.settings import Distillation, Settings
from tokenjax.training.state import TrainState, make_init, make_train_step
from tokenjax.training.tasks import pruning

SMALL = {
    "img_size": 8,
    "patch_size": 2,
    "in_channels": 1,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "dropout": 0.0,
}


def examples(*image_shape):
    return ArraySplit(
        np.zeros((10, *image_shape), np.uint8), np.arange(10, dtype=np.int32)
    )


def task(settings, teacher=None, **more):
    info = types.SimpleNamespace(
        num_classes=10,
        counts={"train": np.ones(10)},
        image_shape=(8, 8, 1),
        mean=(0.3,),
        std=(0.3,),
    )
    model = models.create("dynamic_vit", **SMALL, **(more or {"stages": (1,)}))
    dataset = types.SimpleNamespace(info=info, train=examples(8, 8, 1))
    return pruning.Pruning(model, dataset, settings, teacher)


@pytest.fixture
def batch():
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), np.uint8)
    return {"image": images, "label": np.arange(6)}


def test_divergence_and_distance():
    logits = jax.random.normal(jax.random.key(0), (4, 5))
    other = jax.random.normal(jax.random.key(1), (4, 5))
    p, q = jax.nn.softmax(other), jax.nn.softmax(logits)
    expected = np.sum(p * np.log(p / q), axis=-1).mean()
    np.testing.assert_allclose(
        pruning.logit_divergence(logits, other), expected, rtol=1e-4
    )
    assert pruning.logit_divergence(logits, logits) == pytest.approx(0, abs=1e-6)

    student = jnp.arange(2.0 * 4 * 3).reshape(2, 4, 3)
    teacher = student.at[0, 2].add(2.0).at[1, 3].add(10.0).at[:, 0].add(100.0)
    keep = jnp.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    distance = pruning.token_distance(student, teacher, keep)
    assert distance == pytest.approx(4.0 / 3)  # one of three kept tokens is off by 2
    assert pruning.token_distance(student, teacher, 0 * keep) == 0


def test_a_step_moves_the_student_and_not_the_teacher(tmp_path, batch):
    settings = Settings.from_config({"task": "pruning", "steps": 3})
    first = task(settings)
    trained = drawn_variables(first.model, *first.model.example_inputs(1))
    storage.save_variables(tmp_path / "teacher", trained, {})
    learner = task(settings, tmp_path / "teacher")
    schedule = make_schedule(settings, 6)
    optimizer = make_optimizer(settings, schedule, {})
    state = jax.jit(make_init(learner, optimizer, settings))(jax.random.key(0))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state = learner.start(state, device)
    assert not any("predictors" in key for key in state.frozen)
    for key, expected in state.frozen.items():  # the student starts as the teacher
        jax.tree.map(np.testing.assert_array_equal, expected, trained["params"][key])
        jax.tree.map(np.testing.assert_array_equal, state.params[key], expected)

    step = jax.jit(make_train_step(learner, optimizer, schedule, settings))
    after, scalars = step(state, batch)
    jax.tree.map(np.testing.assert_array_equal, after.frozen, state.frozen)
    assert np.abs(after.params["predictors_0"]["fc1"]["kernel"]).sum() > 0
    assert not np.array_equal(after.params["cls_token"], state.params["cls_token"])
    assert {"logit_divergence", "token_distance", "keep_ratio", "kept_1"} <= set(
        scalars
    )
    assert all(np.isfinite(value) for value in scalars.values())


def test_a_teacher_may_have_other_predictors(tmp_path):
    """Of one that prunes by another rule, unpruned, what is shared is taken."""
    other = models.create("dynamic_vit", **SMALL, predictor="linear", pruning="none")
    trained = drawn_variables(other, *other.example_inputs(1))
    assert any("predictors" in key for key in trained["params"])
    storage.save_variables(tmp_path / "teacher", trained, {})
    settings = Settings.from_config({"task": "pruning", "steps": 3})
    learner = task(settings, tmp_path / "teacher")
    optimizer = make_optimizer(settings, make_schedule(settings, 6), {})
    state = jax.jit(make_init(learner, optimizer, settings))(jax.random.key(0))
    own = state.params["predictors_0"]
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state = learner.start(state, device)
    assert not any("predictors" in key for key in state.frozen)
    shared = [key for key in trained["params"] if "predictors" not in key]
    assert sorted(state.frozen) == sorted(shared)
    for key in shared:
        expected = trained["params"][key]
        jax.tree.map(np.testing.assert_array_equal, state.params[key], expected)
    jax.tree.map(np.testing.assert_array_equal, state.params["predictors_0"], own)


def test_weights_of_the_losses(tmp_path, batch):
    """The loss is linear in the two weights, with the scalars as coefficients."""
    init = jax.jit(task(Settings.from_config({"task": "pruning"})).init)
    variables, other = (init(jax.random.key(seed)) for seed in (0, 1))
    found = {}
    for weights in ((0.0, 0.0), (1.0, 0.0), (0.0, 2.0)):
        section = {"logit_weight": weights[0], "token_weight": weights[1]}
        settings = Settings.from_config({"task": "pruning", "distillation": section})
        learner = task(settings)
        state = TrainState(0, variables["params"], {}, None, None, other["params"])
        loss, (_, scalars) = jax.jit(learner.loss)(state, batch, jax.random.key(2))
        found[weights] = float(loss), scalars
    plain, scalars = found[(0.0, 0.0)]
    divergence = float(scalars["logit_divergence"])
    distance = float(scalars["token_distance"])
    assert divergence > 0
    assert distance > 0
    assert found[(1.0, 0.0)][0] == pytest.approx(plain + divergence, rel=1e-5)
    assert found[(0.0, 2.0)][0] == pytest.approx(plain + 2 * distance, rel=1e-5)


def test_another_network_is_no_teacher(tmp_path):
    settings = Settings.from_config({"task": "pruning", "steps": 3})
    wide = models.create("vit", **{**SMALL, "embed_dim": 32})
    variables = drawn_variables(wide, *wide.example_inputs(1))
    storage.save_variables(tmp_path / "wide", variables, {})
    learner = task(settings, tmp_path / "wide")
    optimizer = make_optimizer(settings, make_schedule(settings, 6), {})
    state = jax.jit(make_init(learner, optimizer, settings))(jax.random.key(0))
    with pytest.raises(UserError, match=r"distillation\.teacher .*wide: the check"):
        learner.start(state, jax.sharding.SingleDeviceSharding(jax.devices()[0]))


def test_a_model_that_cannot_prune_is_refused():
    settings = Settings.from_config({"task": "pruning", "model": {"name": "vit"}})
    dataset = types.SimpleNamespace(
        info=types.SimpleNamespace(counts={"train": np.ones(10)}),
        train=examples(8, 8, 1),
    )
    with pytest.raises(UserError, match='task "pruning" trains a model with'):
        pruning.Pruning(models.create("vit"), dataset, settings)
    with pytest.raises(UserError, match='task "pruning" trains a model with'):
        task(settings, predictor="linear", pruning="inference")
    spec = "dynamicvit:pruning_loc=(),token_ratio=()"
    with pytest.raises(UserError, match='task "pruning" trains a model with'):
        vit_task(settings, reduction=spec)


LEARNS = "dynamicvit:pruning_loc=(1,),token_ratio=0.5"
VIT = {
    "img_size": 8,
    "patch_size": 2,
    "in_chans": 1,
    "num_classes": 10,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
}


def vit_task(settings, teacher=None, reduction=LEARNS):
    info = types.SimpleNamespace(
        num_classes=10,
        counts={"train": np.ones(10)},
        image_shape=(8, 8, 1),
        mean=(0.3,),
        std=(0.3,),
    )
    model = models.create("vit_tiny_patch16", **VIT, reduction=reduction)
    dataset = types.SimpleNamespace(info=info, train=examples(8, 8, 1))
    return pruning.Pruning(model, dataset, settings, teacher)


def test_a_step_of_a_vit_whose_reduction_learns(tmp_path, batch):
    """The network stands still at first, its predictors do not."""
    dense = models.create("vit_tiny_patch16", **VIT)
    trained = jax.jit(dense.init)(jax.random.key(7), *dense.example_inputs(1))
    storage.save_variables(tmp_path / "teacher", trained, {})
    settings = Settings.from_config(
        {
            "task": "pruning",
            "steps": 3,
            "batch_size": 6,
            "optimizer": {"network_after_epochs": 0.5, "network_rate": 0.01},
            "distillation": {"token_distance": "kl"},
        }
    )
    learner = vit_task(settings, tmp_path / "teacher")
    optimizer, schedule = learner.optimizer()
    state = jax.jit(make_init(learner, optimizer, settings))(jax.random.key(0))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state = learner.start(state, device)
    jax.tree.map(np.testing.assert_array_equal, state.frozen, trained["params"])
    before = state.params["encoder"]
    assert "reduction_1" in before
    step = jax.jit(make_train_step(learner, optimizer, schedule, settings))
    after, scalars = step(state, batch)
    assert all(np.isfinite(value) for value in scalars.values())
    assert {"keep_ratio", "kept_1", "token_distance"} <= set(scalars)
    for name, old in before.items():
        new = after.params["encoder"][name]
        same = jax.tree.leaves(jax.tree.map(np.array_equal, old, new))
        assert all(same) == ("reduction" not in name), name


def test_a_vits_teacher_is_the_one_without_reduction():
    config = default_config()
    config.task = "pruning"
    config.model = ml_collections.ConfigDict(
        {"name": "vit_tiny_patch16", "reduction": "dynamicvit"}
    )
    config.optimizer.update(network_rate=0.01, network_after_epochs=5.0)
    model = models.create("vit_tiny_patch16", reduction="dynamicvit")
    teacher = experiment.teacher_config(config, model)
    assert teacher.model.reduction is None
    settings = Settings.from_config(teacher)
    assert settings.optimizer.network_rate == 1
    assert settings.optimizer.network_after_epochs == 0


def test_settings_of_a_teacher():
    config = default_config()
    config.task, config.epochs = "pruning", 5.0
    config.model = ml_collections.ConfigDict({"name": "dynamic_vit"})
    config.distillation.update(teacher_epochs=9.0, teacher_learning_rate=0.5)
    teacher = experiment.teacher_config(config, models.create("dynamic_vit"))
    assert teacher.task == "classification"
    assert teacher.model.pruning == "none"
    assert (teacher.epochs, teacher.optimizer.learning_rate) == (9.0, 0.5)
    assert config.task == "pruning"
    assert Settings.from_config(teacher).distillation == Distillation()
