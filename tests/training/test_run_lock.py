"""One training at a time in a workdir, whatever becomes of it."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from tokenjax.errors import UserError
from tokenjax.training import run_lock
from tokenjax.training.run_lock import RunLock

HOLDER = """
import pathlib, sys, time
from tokenjax.training.run_lock import RunLock
with RunLock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def test_one_at_a_time(tmp_path):
    with RunLock(tmp_path):
        before = (tmp_path / "run.lock").read_bytes()
        with pytest.raises(UserError) as caught, RunLock(tmp_path):
            pass
        assert (tmp_path / "run.lock").read_bytes() == before
    sentence = str(caught.value)
    assert "a run is going on there" in sentence
    assert f"process {os.getpid()} on {socket.gethostname()}" in sentence
    assert not (tmp_path / "run.lock").exists()
    with RunLock(tmp_path):
        pass


def test_a_kill_gives_it_back(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {process.pid} "):
            RunLock(tmp_path).acquire()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert json.loads((tmp_path / "run.lock").read_text())["pid"] == process.pid
    with RunLock(tmp_path):
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()


def test_a_file_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """Else two would hold a lock each: one of the file, one of what it was."""
    first, flock, calls = RunLock(tmp_path), fcntl.flock, []
    first.acquire()

    def slow(handle, how):
        if not calls:
            first.release()  # between the opening of its file and this lock
        calls.append(how)
        flock(handle, how)

    monkeypatch.setattr(run_lock.fcntl, "flock", slow)
    with RunLock(tmp_path):
        assert len(calls) == 2
        with pytest.raises(UserError, match="going on"):
            RunLock(tmp_path).acquire()


@pytest.fixture
def without_locks(monkeypatch):
    def refuse(handle, how):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(run_lock.fcntl, "flock", refuse)


def test_a_file_system_without_locks(tmp_path, without_locks, capsys):
    with RunLock(tmp_path):
        pass
    assert capsys.readouterr().err.count("knows no locks") == 1
    alive = os.getppid()
    holder = {"pid": alive, "host": socket.gethostname(), "since": "today"}
    (tmp_path / "run.lock").write_text(json.dumps(holder))
    with pytest.raises(UserError, match=f"going on there .process {alive} on"):
        RunLock(tmp_path).acquire()


@pytest.mark.parametrize(
    "left",
    [
        {"pid": 2**22 + 1, "host": socket.gethostname()},  # above Linux's largest
        {"pid": 2**70, "host": socket.gethostname()},
        {"pid": "x", "host": socket.gethostname()},
        {"pid": os.getppid(), "host": "another"},
        [],
        None,
    ],
)
def test_what_a_kill_left_without_locks(tmp_path, without_locks, left):
    (tmp_path / "run.lock").write_text(json.dumps(left))
    with RunLock(tmp_path):
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        RunLock(tmp_path / "file" / "run").acquire()
    (tmp_path / "run.lock").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        RunLock(tmp_path).acquire()
