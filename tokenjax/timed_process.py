"""A command in a process of its own up to its first result, and where its time went.

    python -m tokenjax.timed_process FILE COMMAND [--flag value ...]

Every import, tracing, lowering and compiling is a line of JSON in FILE when it begins
and when it has ended, so that of a process that is ended too early all is known up to
there. jax tells of the last three (`jax_events`); an import counts with all that it
imports. Moments are seconds since the epoch.

The process ends at its first result, without writing what the command would.
"""

import builtins
import functools
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from tokenjax import allocator, command_line, jax_events

KINDS = {
    jax_events.TRACE: "trace",
    jax_events.LOWER: "lower",
    jax_events.COMPILE: "compile",
}
IMPORT, RESULT, READ = "import", "result", "read"
BEGUN = "begun"  # the process, as far as this file


class Recorder:
    """Writes what happens in the thread that makes it."""

    def __init__(self, file: TextIO):
        self._file = file
        self._thread = threading.get_ident()
        self._importing = False

    def write(self, kind: str, name: str, start: float, end: float | None) -> None:
        """Write a line; `end` is None where something begins."""
        if threading.get_ident() == self._thread:
            line = {"kind": kind, "name": name, "start": start, "end": end}
            print(json.dumps(line), file=self._file, flush=True)

    def begin(self, event: str, value: float | int, **details: str | int) -> None:
        """Take what jax begins."""
        if event in KINDS:
            name = jax_events.program_name(str(details.get("fun_name", "")))
            self.write(KINDS[event], name, value, None)

    def end(
        self, event: str, start_time: float, end_time: float, **details: str | int
    ) -> None:
        """Take what jax has done."""
        if event in KINDS:
            name = jax_events.program_name(str(details.get("fun_name", "")))
            self.write(KINDS[event], name, start_time, end_time)

    def read(self, event: str, duration_secs: float, **_: str | int) -> None:
        """Take what came from the compilation cache."""
        if event == jax_events.READ:
            now = time.time()
            self.write(READ, "", now - duration_secs, now)

    def happened(self, event: str, **_: str | int) -> None:
        """End the process at its first result."""
        if event == jax_events.RESULT:
            now = time.time()
            from tokenjax.benchmark import hardware

            self.write(RESULT, hardware.describe(), now, now)
            self._file.close()
            os._exit(0)

    def timed(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Return what imports as `load` does, the outermost of them written down."""

        @functools.wraps(load)
        def importing(name: str, *arguments: Any, **named: Any) -> Any:
            if self._importing or threading.get_ident() != self._thread:
                return load(name, *arguments, **named)
            self._importing, start = True, time.time()
            try:
                return load(name, *arguments, **named)
            finally:
                self._importing, end = False, time.time()
                if end - start > 1e-3:
                    self.write(IMPORT, name, start, end)

        return importing


def main(arguments: list[str]) -> None:
    """Run the command with a recorder at its side."""
    path, name, *flags = arguments
    allocator.start_again()
    with open(path, "a", encoding="utf-8") as file:
        recorder = Recorder(file)
        now = time.time()
        recorder.write(BEGUN, "", now, now)
        builtins.__import__ = recorder.timed(builtins.__import__)
        importlib.import_module = recorder.timed(importlib.import_module)
        import jax.monitoring

        jax.monitoring.register_event_listener(recorder.happened)
        jax.monitoring.register_event_duration_secs_listener(recorder.read)
        with jax_events.listening(recorder.begin, recorder.end):
            command_line.run(name, [name, *flags])


if __name__ == "__main__":
    main(sys.argv[1:])
