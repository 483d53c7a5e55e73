"""Peak memory: the compiler's plan, and when a device's counter is believed."""

import types

import jax
import jax.numpy as jnp

from tokenjax.benchmark import memory


def device(statistics):
    return types.SimpleNamespace(memory_stats=lambda: statistics)


def compiled():
    x = jnp.ones((256, 256), jnp.float32)
    return jax.jit(lambda x: x @ x).lower(x).compile()


def test_compiler_where_the_device_keeps_no_count():
    found = memory.peak_memory(compiled(), device(None))
    assert found.method == memory.COMPILER
    assert found.bytes >= 2 * 256 * 256 * 4  # argument and output


def test_device_where_its_mark_rose():
    counter = device({"peak_bytes_in_use": 10_000_000})
    assert memory.device_peak(counter) == 10_000_000
    for before in (None, 9_000_000):
        found = memory.peak_memory(compiled(), counter, before)
        assert found == memory.Memory(10_000_000, memory.DEVICE)


def test_compiler_where_an_earlier_model_set_the_mark():
    counter = device({"peak_bytes_in_use": 10_000_000})
    assert memory.peak_memory(compiled(), counter, 10_000_000).method == memory.COMPILER
