"""What a training step is as a program: its state reused, nothing asked of the host."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from test_accumulation import BATCH, SMALL, dataset, make

from tokenjax import models
from tokenjax.training import optimizer
from tokenjax.training.state import make_init, make_train_step
from tokenjax.training.tasks.classification import Classification

SCHEDULE = optax.constant_schedule(1e-3)


def program(parts, **config):
    """The step, jitted as a run's, and what it begins with."""
    learner, settings, _ = make(parts, **config)
    rule = optimizer.make_optimizer(settings, SCHEDULE, learner.parameter_groups())
    state = jax.jit(make_init(learner, rule, settings))(jax.random.key(0))
    step = make_train_step(learner, rule, SCHEDULE, settings)
    return jax.jit(step, donate_argnums=0), state


def test_the_state_is_reused_and_parts_are_one_loop():
    step, state = program(2, ema_decay=0.9, gradient_clip=1.0)
    compiled = step.lower(state, BATCH).compile()
    text = compiled.as_text()
    kernel = state.params["blocks_0"]["mlp"]["fc1"]["kernel"]
    rows, columns = kernel.shape
    loops = [line for line in text.splitlines() if " while(" in line]
    assert len([line for line in loops if f"f32[{rows},{columns}]" in line]) == 1
    assert "callback" not in text
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes == size
    old = jax.tree.leaves(state)
    after, _ = compiled(state, BATCH)
    assert all(leaf.is_deleted() for leaf in old)
    assert int(after.step) == 1


def test_a_kernel_is_rounded_once_a_step_and_its_gradient_widened_once():
    _, settings, state = make(1)
    model = models.create("vit", **SMALL, num_classes=3, dtype="bfloat16")
    half = Classification(model, dataset(), settings)
    step = make_train_step(half, optax.sgd(1.0), SCHEDULE, settings)
    text = jax.jit(step).lower(state, BATCH).as_text()
    shape = "x".join(
        map(str, np.shape(state.params["blocks_0"]["mlp"]["fc1"]["kernel"]))
    )
    converts = [line for line in text.splitlines() if "stablehlo.convert" in line]
    rounded = f"(tensor<{shape}xf32>) -> tensor<{shape}xbf16>"
    widened = f"(tensor<{shape}xbf16>) -> tensor<{shape}xf32>"
    assert sum(rounded in line for line in converts) == 1
    assert sum(widened in line for line in converts) == 1
    assert jnp.asarray(state.params["head"]["kernel"]).dtype == jnp.float32
