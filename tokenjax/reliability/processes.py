"""The training command as processes of one run, to be signalled and waited for."""

import os
import pathlib
import signal
import socket
import subprocess
import time

from tokenjax.processes import train_command


class RunningProcesses:
    """`count` processes that train as one run; output goes to files."""

    def __init__(
        self,
        count: int,
        arguments: list[str],
        log: pathlib.Path,
        environment: dict[str, str] | None = None,
        join_seconds: int = 600,
    ):
        """Start them.

        Args:
          count: 1, or so many that meet on this machine's loopback.
          arguments: of the training command.
          log: a directory, made; output of process i is appended to log-<i>.txt.
          environment: of the processes; this one's if None.
          join_seconds: how long they wait for each other.
        """
        self.started = time.monotonic()
        self.processes: list[subprocess.Popen] = []
        self.logs = [log / f"log-{index}.txt" for index in range(count)]
        log.mkdir(parents=True, exist_ok=True)
        port = _free_port()
        for index, path in enumerate(self.logs):
            command = [*train_command(), *arguments]
            if count > 1:
                command += [
                    "--config.distributed=True",
                    f"--config.cluster.coordinator_address=127.0.0.1:{port}",
                    f"--config.cluster.num_processes={count}",
                    f"--config.cluster.process_id={index}",
                    f"--config.cluster.join_seconds={join_seconds}",
                    # Whoever watches ends what hangs; a machine may sleep meanwhile.
                    "--config.cluster.heartbeat_seconds=600",
                ]
            with open(path, "a", encoding="utf-8") as output:
                process = subprocess.Popen(
                    command,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**(environment or os.environ)},
                )
            self.processes.append(process)

    def running(self) -> bool:
        """Return whether all of them still run."""
        return all(process.poll() is None for process in self.processes)

    def signal(self, number: signal.Signals, only: int | None = None) -> None:
        """Send a signal to all of them, or to one."""
        chosen = self.processes if only is None else [self.processes[only]]
        for process in chosen:
            process.send_signal(number)

    def wait(self, seconds: float) -> list[int] | None:
        """Wait for their exit statuses; None if one still runs after so long."""
        deadline = time.monotonic() + seconds
        try:
            return [
                process.wait(max(deadline - time.monotonic(), 0.0))
                for process in self.processes
            ]
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> list[int]:
        """Kill whatever still runs, and return all exit statuses."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        return [process.wait() for process in self.processes]

    def output(self) -> str:
        """Return what the first one that failed, or the first one, wrote last."""
        failed = [
            log
            for log, process in zip(self.logs, self.processes, strict=True)
            if process.returncode
        ]
        return [*failed, *self.logs][0].read_text("utf-8", errors="replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
