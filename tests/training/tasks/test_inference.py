"""Evaluation runs the network in a program of its own, and its outputs in another."""

import jax
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables
from helpers.small_models import small

from tokenjax import data
from tokenjax.errors import UserError
from tokenjax.models import contract
from tokenjax.training import inference
from tokenjax.training.distribution import devices
from tokenjax.training.settings import Settings
from tokenjax.training.tasks import Classification, Routing

CONFIG = {
    "task": "classification",
    "model": {"name": "vit"},
    "data": {"source": "digits", "image_size": 16},
    "batch_size": 8,
}


@pytest.fixture(scope="module")
def dataset():
    return data.load(CONFIG["data"])


def make(dataset, kind=Classification, name="vit", task="classification"):
    settings = Settings.from_config({**CONFIG, "task": task})
    module = small(name, in_channels=1, num_classes=10)
    return kind(module, dataset, settings)


def compiled(task, dataset, **arguments):
    mesh = devices.make_mesh(task.settings)
    batch = dataset.test.gather(np.arange(8))
    batch = {**batch, "mask": np.arange(8) < 5}
    variables = drawn_variables(task.model, *task.model.example_inputs(1))
    found = task.compile_predict(mesh, **arguments)(variables, batch)
    return found, variables, batch


def test_the_outputs_are_those_of_predict(dataset):
    task = make(dataset)
    found, variables, batch = compiled(task, dataset)
    expected = jax.jit(task.predict)(variables, batch)
    assert set(found) == {*expected, "mask"}
    np.testing.assert_array_equal(found["best"], expected["best"])
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)


def test_logits_for_those_who_ask(dataset):
    task = make(dataset)
    found, variables, batch = compiled(task, dataset, scores=True)
    plain, _, _ = compiled(task, dataset)
    assert set(found) - set(plain) == {"logits"}
    np.testing.assert_array_equal(found["loss"], plain["loss"])
    logits, _ = jax.jit(task.infer)(variables, batch["image"])
    np.testing.assert_allclose(found["logits"], logits, rtol=1e-4, atol=1e-5)


def test_what_routing_reads_comes_along(dataset):
    task = make(dataset, Routing, "attention_routing", "routing")
    found, _, _ = compiled(task, dataset)
    assert {"routed", "scores", "actual_flops", "threshold"} <= set(found)
    assert isinstance(task.model, contract.RoutesPatches)
    plain = small("vit")
    assert inference.kept_keys(plain, {"attention": 0, "tokens": 0}) == ()


def test_a_predict_of_ones_own_is_run_whole(dataset, tmp_path):
    class Surer(Classification):
        def predict(self, variables, batch):
            logits, aux = self.model.apply(variables, self.prepare(batch["image"]))
            return {**self.outputs(2 * logits, aux, batch), "tokens": aux["tokens"]}

    task = make(dataset, Surer)
    found, *_ = compiled(task, dataset, scores=True)
    assert found["tokens"].shape == (8, 17, 16)
    assert "logits" not in found
    with pytest.raises(UserError, match="writes no file of predictions"):
        task.write_predictions(tmp_path / "x.csv", found, dataset.test)
