"""Where processes meet, and one sentence each for what goes wrong there."""

import jax
import pytest

from tokenjax.errors import UserError
from tokenjax.training.distribution import cluster
from tokenjax.training.settings import Settings


def settings(**more):
    return Settings.from_config({"distributed": True, "cluster": more})


@pytest.fixture
def joined(monkeypatch):
    """What `jax.distributed.initialize` is asked for."""
    asked = {}
    monkeypatch.setattr(jax.distributed, "initialize", asked.update)
    for name in ("COORDINATOR_ADDRESS", "NUM_PROCESSES", "PROCESS_ID"):
        monkeypatch.delenv(f"JAX_{name}", raising=False)
    return asked


def test_one_process_joins_nobody(joined):
    cluster.join(Settings())
    assert not joined


def test_the_configuration_comes_first(joined, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "elsewhere:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
    monkeypatch.setenv("JAX_PROCESS_ID", "3")
    cluster.join(settings(coordinator_address="here:2", process_id=0))
    assert joined["coordinator_address"] == "here:2"
    assert joined["num_processes"] == 4
    assert joined["process_id"] == 0


def test_what_nobody_says_is_left_to_jax(joined):
    cluster.join(settings(heartbeat_seconds=7))
    assert joined["coordinator_address"] is None
    assert joined["num_processes"] is None
    assert joined["process_id"] is None
    assert joined["heartbeat_timeout_seconds"] == 7


def test_no_cluster(joined, monkeypatch):
    def initialize(**_):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(UserError, match=r"no cluster is found here: give cluster\."):
        cluster.join(settings())
    with pytest.raises(UserError, match=r"process 1 of 2 cannot join .* at here:2: "):
        cluster.join(
            settings(coordinator_address="here:2", num_processes=2, process_id=1)
        )


def test_a_number_that_is_none(joined, monkeypatch):
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(UserError, match="JAX_PROCESS_ID='first' in the environment"):
        cluster.join(settings())


def test_settings_that_nothing_reads():
    with pytest.raises(UserError, match="cluster is read with distributed=True alone"):
        Settings.from_config({"cluster": {"num_processes": 2}})


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("no such thing"), cluster.MISTAKE, "error: no such thing\n"),
        (
            ValueError("UNKNOWN: Gloo all-reduce failed: Connection reset by peer"),
            cluster.PEER_LOST,
            "error: process 0 of 1 ends, for another one is gone",
        ),
        (ZeroDivisionError("oh"), cluster.BUG, "Traceback"),
        (ValueError("no gap"), cluster.BUG, "ValueError: no gap"),
    ],
)
def test_leaving(monkeypatch, capsys, error, status, said):
    statuses = []
    monkeypatch.setattr("os._exit", statuses.append)
    monkeypatch.setattr(cluster, "GRACE_SECONDS", 0)
    try:
        raise error
    except Exception as caught:
        cluster.leave(caught)
    assert statuses == [status]
    assert said in capsys.readouterr().err


def test_alone_an_error_is_raised():
    with pytest.raises(UserError, match="mine"), cluster.member(Settings()):
        raise UserError("mine")
    with pytest.raises(ValueError, match="Gloo"), cluster.ending_with_its_peers():
        raise ValueError("Gloo")
