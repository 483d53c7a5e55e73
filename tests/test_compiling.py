"""What is compiled is said while that takes, in a file and in a terminal."""

import io
import re
import sys
import threading
import time

import jax.monitoring
import pytest
import tqdm

from tokenjax import compiling, jax_events


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(compiling, "PATIENCE", 0.05)
    monkeypatch.setattr(compiling, "TICK", 0.02)
    monkeypatch.setattr(compiling, "FIRST_REMINDER", 0.1)


def compile_for(seconds, name="jit(step)", event=jax_events.COMPILE):
    """Tell what jax tells of a program that takes so long to compile."""
    begun = time.time()
    jax.monitoring.record_scalar(event, begun, fun_name=name)
    time.sleep(seconds)
    jax.monitoring.record_event_time_span(event, begun, time.time(), fun_name=name)


def test_in_a_file(quick, capsys):
    with compiling.told(lambda name: f"the {name} of vdpa"):
        compile_for(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "compiling the step of vdpa"
    assert re.fullmatch(r"compiled the step of vdpa in \d s", lines[-1])
    # After 0.1, 0.2 and 0.4 seconds: ever more rarely.
    reminders = lines[1:-1]
    assert 1 <= len(reminders) <= 3
    shown = re.compile(r"compiling the step of vdpa \(\d s so far\)")
    assert all(map(shown.fullmatch, reminders))


def test_in_a_terminal(quick, monkeypatch):
    """One line, which is gone in the end; the bar above it stays."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with tqdm.tqdm(total=3, file=terminal, desc="rows", ncols=60) as bar:
        with compiling.told(lambda name: "vdpa, batch 64, bfloat16"):
            compile_for(0.2)
        bar.update(3)
    shown = terminal.getvalue()
    what = "vdpa, batch 64, bfloat16"
    assert len(re.findall(rf"compiling {what} \(\d s so far\)", shown)) >= 2
    assert len(re.findall(rf"compiled {what} in \d s\n", shown)) == 1
    after = shown.partition("compiled vdpa")[2]
    assert "compiling" not in after
    assert re.search(r"rows: 100%.* 3/3 ", after)


def test_what_is_quick_is_not_told(capsys):
    """Two seconds; nor what other threads compile, nor what is only traced."""
    with compiling.told(lambda name: name):
        compile_for(0.05)
        other = threading.Thread(target=compile_for, args=(0.05,))
        other.start()
        other.join()
    assert capsys.readouterr().err == ""


def test_others_are_not_told(quick, capsys):
    with compiling.told(lambda name: name):
        other = threading.Thread(target=compile_for, args=(0.2,))
        other.start()
        other.join()
        compile_for(0.2, event=jax_events.TRACE)
    assert capsys.readouterr().err == ""
    compile_for(0.2)  # and nobody listens any more
    assert capsys.readouterr().err == ""


def test_each_program_is_told_apart(quick, capsys):
    with compiling.told(lambda name: name):
        compile_for(0.1, "jit(one)")
        compile_for(0.1, "jit_two")
    lines = capsys.readouterr().err.splitlines()
    done = [line.split()[1] for line in lines if line.startswith("compiled")]
    assert done == ["one", "two"]


def test_a_program_that_ends_while_it_compiles(quick, capsys):
    def interrupt():
        with compiling.told(str):
            jax.monitoring.record_scalar(jax_events.COMPILE, 0.0, fun_name="jit(f)")
            time.sleep(0.2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    said = capsys.readouterr().err
    assert said.startswith("compiling f\n")
    assert "compiled" not in said
