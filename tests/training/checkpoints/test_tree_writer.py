"""What `tree_writer` writes is what Orbax writes, and Orbax alone reads it."""

import json

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from tokenjax.training.checkpoints.tree_writer import TreeSave


@flax.struct.dataclass
class State:
    step: jax.Array
    params: dict
    opt_state: tuple
    averages: dict | None


def state(value, averages=None):
    params = {
        "kernel": jnp.full((3, 4, 2), value, jnp.float32),
        "half": jnp.full((5,), value, jnp.bfloat16),
        "blocks_0": {"mask": jnp.asarray([True, False]), "count": jnp.uint32(value)},
    }
    optimizer = optax.chain(optax.clip(1.0), optax.adam(optax.constant_schedule(1.0)))
    return State(jnp.int32(value), params, optimizer.init(params), averages)


@pytest.fixture
def saved(tmp_path):
    """saved(states) -> the directory of each, all written by one `TreeWriter`.

    As in training, a step overwrites the arrays as soon as `save` returns.
    """
    step_of = jax.jit(lambda tree: jax.tree.map(_another, tree), donate_argnums=0)
    root = tmp_path / "50% of a run? #1 ü"

    def save(states):
        directories = []
        with ocp.CheckpointManager(root) as manager:
            for step, each in enumerate(states):
                tree = TreeSave(each, lambda: None)
                manager.save(step, args=ocp.args.Composite(state=tree))
                jax.block_until_ready(step_of(each))
                manager.wait_until_finished()
                directories.append(root / str(step) / "state")
        return directories

    return save


def _another(array):
    return ~array if array.dtype == bool else array + 1


def assert_same(array, other):
    assert array.dtype == other.dtype
    np.testing.assert_array_equal(array, other)


def read(directory):
    with ocp.PyTreeCheckpointer() as checkpointer:
        return checkpointer.restore(directory)


def written_by_orbax(directory):
    """Orbax has every process write to a directory of its own, and joins them."""
    return any(directory.glob("ocdbt.process_*"))


def test_orbax_reads_both_alike(saved):
    by_orbax, ours = saved([state(7), state(7)])
    assert written_by_orbax(by_orbax)
    assert not written_by_orbax(ours)
    expected, found = read(by_orbax), read(ours)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    original = state(7).params
    for tree, other in ((found, expected), (found["params"], original)):
        jax.tree.map(assert_same, tree, other)
    assert (found["step"], found["opt_state"][1][0]["mu"]["kernel"].sum()) == (7, 0)
    descriptions = [json.loads((d / "_METADATA").read_text()) for d in (by_orbax, ours)]
    assert descriptions[0] == descriptions[1]


def test_another_structure_is_orbaxs_again(saved):
    averages = ({"kernel": jnp.ones(3)} for _ in range(2))
    states = [state(1), state(2), *map(state, (3, 4), averages)]
    directories = saved(states)
    assert [written_by_orbax(d) for d in directories] == [True, False, True, False]
    for value, directory in enumerate(directories, 1):
        found = read(directory)
        assert found["step"] == value
        assert (found["averages"] is None) is (value < 3)


def test_what_goes_first(tmp_path):
    """Room is made before anything is written, by the thread that writes."""
    seen = []
    with ocp.CheckpointManager(tmp_path) as manager:
        for step in range(2):
            directory = tmp_path / f"{step}.orbax-checkpoint-tmp"

            def look(directory=directory):
                files = [path for path in directory.rglob("*") if path.is_file()]
                seen.append(
                    [path.name for path in files if "METADATA" not in str(path)]
                )

            tree = TreeSave(state(step), look)
            manager.save(step, args=ocp.args.Composite(state=tree))
            manager.wait_until_finished()
    assert seen == [[], []]
