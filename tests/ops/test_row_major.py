"""A layout that is asked for on a GPU alone, of an array and of its gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.ops import row_major


def loss(array):
    return jnp.sum(jnp.sin(row_major.keep_row_major(array)))


def constraints():
    """Return how often a gradient's program asks, and its value."""
    array = jnp.arange(24.0).reshape(2, 3, 4)
    gradient = jax.grad(lambda array: loss(array))  # traced anew
    lowered = jax.jit(gradient).lower(array)
    np.testing.assert_allclose(lowered.compile()(array), np.cos(array), rtol=1e-6)
    text = lowered.as_text()
    layouts = text.count("dense<[2, 1, 0]> : tensor<3xindex>")  # the fastest first
    return text.count("@LayoutConstraint("), layouts


def test_nothing_is_asked_for_on_a_cpu():
    assert constraints() == (0, 0)


def test_a_gpu_is_asked_for_rows_in_both_directions(monkeypatch):
    monkeypatch.setattr(row_major.jax, "default_backend", lambda: "gpu")
    calls, layouts = constraints()
    assert calls == 2
    assert layouts >= 2


def test_several_devices_are_asked_where_nothing_is_gathered_for_it(monkeypatch):
    monkeypatch.setattr(row_major.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(row_major.jax, "device_count", lambda: 8)
    monkeypatch.setattr(row_major, "_SPLITS", False)
    assert constraints() == (0, 0)
    monkeypatch.setattr(row_major, "_SPLITS", True)
    assert constraints()[0] == 2
