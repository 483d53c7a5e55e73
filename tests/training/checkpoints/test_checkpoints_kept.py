"""Whatever is saved in whatever order: the newest and the best are kept, no others."""

import math
import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tokenjax.training.checkpoints import Checkpoints
from tokenjax.training.settings import Checkpoint

METRICS = st.one_of(st.none(), st.sampled_from([-7.5, -1.0, 0.0, 0.5, 0.75, 1.0]))


def state(value):
    return {"w": jnp.full(4, value), "step": jnp.array(value)}


class Kept(RuleBasedStateMachine):
    """A run that saves, is started anew, and finds its newest checkpoint damaged."""

    @initialize(keep=st.integers(1, 3))
    def start(self, keep):
        self.workdir, self.keep = Path(tempfile.mkdtemp()), keep
        self.step, self.expected, self.aside = 0, {}, 0
        self.checkpoints = Checkpoints(self.workdir, Checkpoint(keep=keep))

    @rule(metrics=st.lists(METRICS, min_size=1, max_size=4))
    def save(self, metrics):
        for metric in metrics:
            self.step += 1
            self.checkpoints.save(self.step, state(self.step), metric)
            self.expected[self.step] = -math.inf if metric is None else metric
            best = max(self.expected, key=lambda step: (self.expected[step], step))
            newest = sorted(self.expected)[-self.keep :]
            self.expected = {s: self.expected[s] for s in sorted({*newest, best})}

    @rule()
    def save_again(self):
        if self.step in self.expected:
            self.checkpoints.save(self.step, state(0), 2.0)  # left alone

    @rule()
    def start_anew(self):
        self.checkpoints.__exit__(None, None, None)
        self.checkpoints = Checkpoints(self.workdir, Checkpoint(keep=self.keep))

    @rule()
    def damage_the_newest(self):
        if len(self.expected) < 2:
            return
        self.start_anew()
        newest = max(self.expected)
        files = self.workdir.glob(f"checkpoints/{newest}/state/**/d/*")
        next(files).write_bytes(b"no longer")
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        restored = self.checkpoints.restore_last(state(0), sharding)
        del self.expected[newest]
        self.aside += 1
        self.step = int(restored["step"])
        assert self.step == max(self.expected)

    @invariant()
    def the_newest_and_the_best_are_there(self):
        if not hasattr(self, "workdir"):
            return
        steps = self.checkpoints.steps()
        assert steps == sorted(self.expected)
        if not steps:
            return
        assert self.checkpoints.pick("last") == steps[-1]
        best = max(self.expected, key=lambda step: (self.expected[step], step))
        assert self.checkpoints.pick("best") == best
        names = {path.name for path in (self.workdir / "checkpoints").iterdir()}
        damaged = {name for name in names if name.startswith("damaged-")}
        assert len(damaged) == self.aside
        assert names - damaged == {*map(str, steps), "checksums"}

    def teardown(self):
        if not hasattr(self, "workdir"):
            return
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        for step in self.checkpoints.steps():
            restored = self.checkpoints.restore(step, state(0), sharding)
            np.testing.assert_array_equal(restored["w"], step)
        self.checkpoints.__exit__(None, None, None)
        shutil.rmtree(self.workdir)


TestKept = Kept.TestCase
TestKept.settings = settings(
    max_examples=8,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
