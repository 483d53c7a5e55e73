"""A wish to stop: of one process by signal, of several by the service."""

import os
import signal

import pytest

from tokenjax.training.distribution import signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_process_notes_a_signal(number):
    before = signal.getsignal(number)
    with signals.StopRequest() as stop:
        assert not stop.reached()
        os.kill(os.getpid(), number)
        assert stop.reached()
        assert signal.getsignal(number) is before, "a second one acts as usual"
    assert signal.getsignal(number) is before


def test_of_several_processes_the_service_counts(monkeypatch):
    asked, raised = [], []
    service = lambda number: bool(asked.append(number)) or number >= 3  # noqa: E731
    monkeypatch.setattr("jax.process_count", lambda: 2)
    monkeypatch.setattr(
        signals.multihost_utils, "reached_preemption_sync_point", service
    )
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    monkeypatch.setattr(signals.StopRequest, "_asked", 0)
    before = signal.getsignal(signal.SIGTERM)
    with signals.StopRequest() as first:
        assert signal.getsignal(signal.SIGTERM) is before, "which is the service's"
        assert not first.reached()
        os.kill(os.getpid(), signal.SIGINT)
        assert raised == [signal.SIGTERM]
        assert not first.reached()
    with signals.StopRequest() as second:  # a teacher's run, then its student's
        assert second.reached()
    assert asked == [1, 2, 3]
