"""Dispatch over eight simulated devices: the same numbers, each device alone.

Run as a program, in a process of eight devices, it holds them to one device.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
from helpers import training_runs
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tokenjax.ops.dispatch import apply_to_selected, shard_index

COLLECTIVES = r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)"


def inputs(batch):
    keys = jax.random.split(jax.random.key(0), 3)
    shape = (batch, 4, 5)
    mask = jax.random.bernoulli(keys[2], 0.4, shape[:-1])
    weights = jax.random.normal(keys[0], (5, 3))
    # The first device's images have no patch selected, the last one's all of them.
    mask = mask.at[: batch // 8].set(False).at[-(batch // 8) :].set(True)
    return weights, jax.random.normal(keys[1], shape), mask


def forward(weights, rows, mask):
    capacities = (2, 4)
    return apply_to_selected(
        lambda w, rows: jnp.tanh(rows @ w + 1), weights, rows, mask, capacities
    )


def gradient(weights, rows, mask):
    def loss(weights, rows):
        return jnp.sum(jnp.sin(forward(weights, rows, mask)))

    return jax.grad(loss, argnums=(0, 1))(weights, rows)


def hold_to_one_device(function, batch):
    """Returns: the collectives that eight devices need."""
    expected = jax.jit(function)(*inputs(batch))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    whole = NamedSharding(mesh, PartitionSpec())
    split = whole if batch % 8 else NamedSharding(mesh, PartitionSpec("data"))
    weights, rows, mask = inputs(batch)
    placed = jax.device_put(weights, whole), *jax.device_put((rows, mask), split)
    with jax.set_mesh(mesh):
        compiled = jax.jit(function).lower(*placed).compile()
    for ours, theirs in zip(
        *map(jax.tree.leaves, (compiled(*placed), expected)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    return set(re.findall(COLLECTIVES, compiled.as_text()))


def draws(key, rows, mask):
    """A uniform number for each selected row."""

    def draw(key, rows):
        return jax.random.uniform(jax.random.fold_in(key, shard_index()), rows.shape)

    return apply_to_selected(draw, key, rows, mask)


def check_that_devices_draw_differently():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    arguments = jax.random.key(3), jnp.ones((8, 4, 1)), jnp.ones((8, 4), bool)
    with jax.set_mesh(mesh):
        assert len(np.unique(jax.jit(draws)(*arguments))) == 32


def main():
    assert jax.device_count() == 8
    assert hold_to_one_device(forward, 16) == set()
    assert hold_to_one_device(gradient, 16) == {"all-reduce"}
    check_that_devices_draw_differently()
    hold_to_one_device(forward, 11)  # a batch that does not divide is not split


def test_eight_devices_compute_as_one_and_each_alone():
    tests = training_runs.REPOSITORY / "tests"
    finished = training_runs.run(
        "tests/ops/test_dispatch_devices.py",
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
        PYTHONPATH=f"{training_runs.REPOSITORY}:{tests}",
    )
    assert finished.returncode == 0, finished.stderr


if __name__ == "__main__":
    main()
