"""The check as a JSON to send around, rewritten after each step, and as a table."""

import pathlib
import time
from collections.abc import Sequence

from tokenjax import storage, tables
from tokenjax.device_check import step_process
from tokenjax.device_check.step_process import Result
from tokenjax.tables import Column

FORMAT = 1
JSON, LOG = "check_device.json", "check_device.log"
RUNNING = "running"
SHOWN = 200  # characters of a reason, in a line of the table


class Summary:
    """Takes in the results as they come, and writes them."""

    def __init__(self, output: pathlib.Path, about: dict[str, object], steps: int):
        """Begin the files, whose folder is made.

        Args:
          output: the folder.
          about: what is known of the check before it begins.
          steps: how many there will be.
        """
        self._output, self._about, self._steps = output, about, steps
        self._started = time.monotonic()
        self.results: list[Result] = []
        output.mkdir(parents=True, exist_ok=True)
        (output / LOG).write_text("", encoding="utf-8")
        self._write()

    def add(self, result: Result, log: str) -> None:
        """Take in a step that has ended, write, and print its line."""
        self.results.append(result)
        self._write()
        with open(self._output / LOG, "a", encoding="utf-8") as file:
            file.write(f"==== {result['name']}: {result['status']} ====\n{log}\n")
        print(
            f"{len(self.results):2}/{self._steps} {result['name']:<13} "
            f"{result['status']:<9} {result['seconds']:6.1f} s  {_words(result)}",
            flush=True,
        )

    def status(self) -> str:
        """Return "failed" where a step failed or took too long, else "ok".

        Before the last one it is "running", and stays so where the check was ended.
        """
        bad = (step_process.FAILED, step_process.TIMED_OUT)
        if any(result["status"] in bad for result in self.results):
            return step_process.FAILED
        return step_process.OK if len(self.results) == self._steps else RUNNING

    def table(self) -> str:
        """Return the table of all steps."""
        return "\n".join(tables.text_lines(self.results, COLUMNS))

    def _write(self) -> None:
        machine: object = {}
        steps = []
        for result in self.results:
            if result["name"] == "device":  # its figures are of all steps
                machine, result = result["figures"], {**result, "figures": {}}
            steps.append(result)
        storage.write_json(
            self._output / JSON,
            {
                "format": FORMAT,
                **self._about,
                "total_seconds": round(time.monotonic() - self._started, 1),
                "status": self.status(),
                "machine": machine,
                "steps": steps,
            },
        )


def _words(result: Result) -> str:
    """Return a step's headline; and what was wrong, in a line."""
    reason = " ".join(str(result["reason"]).split())[:SHOWN]
    return "; ".join(filter(None, (str(result["headline"]), reason)))


COLUMNS: Sequence[Column[Result]] = (
    Column("Step", lambda result: str(result["name"])),
    Column("Status", lambda result: str(result["status"])),
    Column("Seconds", lambda result: float(str(result["seconds"])), ".1f"),
    Column("Found", _words),
)
