"""Peak memory: the compiler's plan, and when a device's counter is believed."""

import gc
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from tokenjax.benchmark import latency, measure, memory


class Dense(nn.Module):
    """A million weights."""

    def example_inputs(self, batch_size):
        return (jnp.ones((batch_size, 1000)),)

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(1000)(x), {"losses": {}}


def device(statistics):
    return types.SimpleNamespace(memory_stats=lambda: statistics, platform="gpu")


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


def test_the_room_of_a_device():
    full = {"bytes_limit": 100, "bytes_in_use": 30, "peak_bytes_in_use": 90}
    assert memory.room(device(full)) == 70
    assert memory.room(device({"bytes_limit": 100})) == 100
    assert memory.room(device({})) is None
    assert memory.room(device(None)) is None
    assert memory.room(jax.devices()[0]) == pytest.approx(memory.available(), rel=0.5)


def test_what_twice_a_batch_needs_goes_on_in_a_line():
    plans = [1000 + 7 * batch for batch in (1, 2, 4, 8, 16)]
    for half, last, double in zip(plans, plans[1:], plans[2:], strict=False):
        assert memory.of_double(half, last) == double
    assert memory.of_double(10, 8) == 8  # the compiler found a better plan
    assert memory.of_double(None, 8) is None
    assert memory.of_double(8, None) is None


@pytest.mark.parametrize("train", [False, True])
def test_nothing_of_a_measured_module_stays(train):
    gc.collect()
    before = {id(each) for each in jax.live_arrays()}
    timing = latency.Timing(warmup=0, repeats=1)
    row = measure.measure_module(Dense(), "dense", 2, timing=timing, train=train)
    assert row.planned >= 4 * row.parameters
    gc.collect()
    left = [each for each in jax.live_arrays() if id(each) not in before]
    assert sum(each.nbytes for each in left) < 4 * row.parameters
