"""Three epochs of the original's trainer, through this package's own train step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.float_tasks import make_task

from tokenjax import convert, models
from tokenjax.training.optimizer import make_optimizer
from tokenjax.training.settings import Optimizer, Settings
from tokenjax.training.state import make_init, make_train_step

BIAS = "attn.qkv.bias"  # its key third drifts freely: softmax ignores it


@pytest.fixture(scope="module")
def case(golden):
    return golden("cifar_vit/train_vit")


def test_the_recorded_run(case, assert_close):
    recorded = case.meta["constructor_args"]
    config, steps = recorded["config"], recorded["steps"]
    model = models.create("vit", **recorded["model"])
    settings = Settings(
        gradient_clip=config["clip_value"],
        optimizer=Optimizer(
            learning_rate=config["learning_rate"],
            weight_decay=config["weight_decay"],
            decay="all",
        ),
    )
    top, low = config["learning_rate"], config["min_lr"]

    def schedule(step):  # the original steps its cosine once per epoch
        epoch = step // steps
        cosine = jnp.cos(jnp.pi * epoch / config["epochs"])
        return low + (top - low) * (1 + cosine) / 2

    task = make_task(model, settings)
    optimizer = make_optimizer(settings, schedule, {})
    state = jax.jit(make_init(task, optimizer, settings))(jax.random.key(0))
    variables = convert.from_torch(model, case.group("state"))
    state = dataclasses.replace(state, params=variables["params"])
    step = jax.jit(make_train_step(task, optimizer, schedule, settings))
    images = case["input/images"].transpose(0, 1, 3, 4, 2)
    predict = jax.jit(task.predict)
    validation = {
        "image": case["input/val_images"].transpose(0, 2, 3, 1),
        "label": case["input/val_labels"],
    }
    for epoch in range(config["epochs"]):
        rows = []
        for number in range(steps):
            batch = {"image": images[number], "label": case["input/labels"][number]}
            state, scalars = step(state, batch)
            rows.append(scalars)
        loss = np.mean([row["loss"] for row in rows])
        accuracy = 100 * np.mean([row["accuracy"] for row in rows])
        found = predict(state.variables(), validation)
        assert_close(loss, case["output/train_loss"][epoch], 1e-4, "training loss")
        assert accuracy == pytest.approx(case["output/train_acc"][epoch])
        mean = found["loss"].mean()
        assert_close(mean, case["output/val_loss"][epoch], 1e-4, "validation loss")
        correct = 100 * np.mean(found["best"][:, 0] == validation["label"])
        assert correct == pytest.approx(case["output/val_acc"][epoch])

    final = convert.to_torch(model, state.variables())
    drift = steps * sum(schedule(steps * epoch) for epoch in range(config["epochs"]))
    for key, expected in case.group("output/final_state").items():
        if key.endswith(BIAS):
            width = len(expected) // 3
            np.testing.assert_allclose(final[key], expected, atol=2 * float(drift))
            others = np.r_[0:width, 2 * width : 3 * width]
            assert_close(final[key][others], expected[others], 1e-3, key)
        else:
            assert_close(final[key], expected, 2e-4, key)
