"""What lies on which device: the rule of `fsdp`, and the rows of a process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from tokenjax.training.distribution import devices
from tokenjax.training.state import TrainState

MESH = AbstractMesh((4,), ("data",))
WHOLE = PartitionSpec()


def state(**shapes):
    params = {name: jnp.zeros(shape, jnp.bfloat16) for name, shape in shapes.items()}
    moments = (jnp.zeros((), jnp.int32), {"mu": params})
    statistics = {"batch_stats": {"mean": jnp.zeros(2**16)}}
    return TrainState(jnp.zeros((), jnp.int32), params, statistics, moments, None)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((128, 512), PartitionSpec(None, "data")),
        ((512, 128), PartitionSpec("data")),
        ((130, 256, 7), PartitionSpec(None, "data")),
        ((126, 131), WHOLE),  # nothing that 4 divides
        ((128, 127), WHOLE),  # too small
        ((2**16,), PartitionSpec("data")),
        ((), WHOLE),
    ],
)
def test_the_largest_axis_that_divides_is_split(shape, expected):
    found = devices.state_sharding(MESH, state(w=shape), fsdp=True)
    assert found.params["w"].spec == expected
    assert found.opt_state[1]["mu"]["w"].spec == expected


def test_what_is_no_parameter_stays_whole():
    found = devices.state_sharding(MESH, state(w=(512, 128)), fsdp=True)
    whole = (found.step, found.model_state["batch_stats"]["mean"], found.opt_state[0])
    assert all(sharding.spec == WHOLE for sharding in whole)
    assert found.ema_params is None


def test_without_fsdp_all_is_whole():
    found = devices.state_sharding(MESH, state(w=(512, 128)), fsdp=False)
    assert all(sharding.spec == WHOLE for sharding in jax.tree.leaves(found))


class Interleaved:
    """As a mesh may be: rows 2, 3 and 6, 7 of 8 are on this process's devices."""

    def addressable_devices_indices_map(self, shape):
        assert shape == (8,)
        return {"b": (slice(6, 8, None),), "a": (slice(2, 4, None),)}


def test_the_rows_of_a_process_are_ascending():
    assert devices.own_rows(Interleaved(), 8).tolist() == [2, 3, 6, 7]


def test_one_process_has_all_rows():
    sharding = devices.split_by_rows(devices.own_mesh())
    rows = devices.own_rows(sharding, 6)
    assert rows.tolist() == list(range(6))
    batch = devices.put_batch({"x": np.arange(6)}, sharding, 6)
    np.testing.assert_array_equal(batch["x"], np.arange(6))
