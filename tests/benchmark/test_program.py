"""Training steps as the benchmark runs them, and what does not fit."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small_models import DEMO, SMALL

from tokenjax import benchmark, models
from tokenjax.benchmark import flops, measure, memory, program, queueing

TIMING = benchmark.Timing(warmup=1, repeats=5)
NAMES = {"vdpa": SMALL["vdpa"], "dynamic_vit": SMALL["dynamic_vit"], "demo": DEMO}


@pytest.mark.parametrize(
    "name",
    [
        "vdpa",
        *(pytest.param(n, marks=pytest.mark.long) for n in ("demo", "dynamic_vit")),
    ],
)
def test_a_training_step_moves_everything(name):
    model = models.create(name, **NAMES[name])
    made = program.training(model, 2)
    before = jax.device_get(made.variables["params"])
    for call in made.calls[:2]:
        state = made.function(*call)
    after, _, _, steps = jax.device_get(state)
    assert int(steps) == 2
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, after)
    still = [path for path, m in jax.tree.leaves_with_path(moved) if not m]
    # The necks' biases are held at 0; weight decay moves no zeros.
    assert all("bottleneck" in str(path) for path in still), still
    for leaf in jax.tree.leaves(after):
        assert np.isfinite(leaf).all()


class Linear(nn.Module):
    """The least that learns."""

    def example_inputs(self, batch_size):
        return (jnp.ones((batch_size, 3)),)

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(2)(x), {"losses": {}}


def test_steps_are_queued_one_on_the_state_of_another_and_compiled_again_go_on():
    made = program.training(Linear(), 2)
    queueing.time_group(made.function, queueing.wait, made.calls, 3)
    *_, number = made.function(*made.calls[0])
    assert number == 4
    again = program.recompile(made, {"xla_gpu_graph_min_graph_size": "1000000"})
    *_, number = again.function(*made.calls[0])
    assert number == 5


def test_a_training_step_costs_about_three_forward_passes():
    model = models.create("vit", **SMALL["vit"])
    forward = program.inference(model, 2).flops
    assert 2.7 * forward < program.training(model, 2).flops < 3.1 * forward


def test_the_row_of_a_training_step():
    row = benchmark.measure_model("vit", SMALL["vit"], 2, timing=TIMING, train=True)
    assert row.mode == measure.TRAINING
    assert row.latency.low <= row.latency.median <= row.latency.high


def test_what_does_not_fit_is_not_run(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(memory.OutOfMemory, match="use a smaller --batch_size"):
        benchmark.measure_model("vit", SMALL["vit"], 2, timing=TIMING)


def test_memory_that_is_free():
    free = memory.available()
    assert free is None or 2**20 < free < 2**50


@pytest.mark.long  # a real size, traced
def test_flops_of_a_peer_are_those_published():
    """Of each image, GMACs; the counting rule is papers' own."""
    published = {
        "resnet50": 4.11,
        "vit_base_patch16": 17.58,
        "swin_base": 15.47,
        "convnextv2_tiny": 4.47,
        "maxvit_tiny": 5.60,
    }
    for name, giga in published.items():
        model = models.create(name)
        example = jax.eval_shape(lambda model=model: model.example_inputs(1))
        variables = jax.eval_shape(model.init, jax.random.key(0), *example)
        counted = flops.count_flops(program.first_output(model), variables, *example)
        assert counted / 2e9 == pytest.approx(giga, rel=0.01), name
