"""The progress bar, the speed that the log records, and lines said beside the bar."""

import sys
import time

import jax
import tqdm

HIGH_INPUT_SHARE = 0.05  # from here on the bar shows how much of the time data costs


def say(sentence: str) -> None:
    """A line on stdout that leaves the bar whole; the first process says it."""
    if jax.process_index() > 0:
        return
    tqdm.tqdm.write(sentence, file=sys.stdout)
    sys.stdout.flush()


def warn(sentence: str) -> None:
    """A line on stderr that leaves the bar whole, and names the process if many run."""
    who = f"process {jax.process_index()}: " if jax.process_count() > 1 else ""
    tqdm.tqdm.write(f"warning: {who}{sentence}", file=sys.stderr)
    sys.stderr.flush()


class Progress:
    """Loss, accuracy, learning rate and images/s, on the first process."""

    def __init__(self, first: int, total: int, batch_size: int):
        self._batch_size = batch_size
        self._step, self._time = first, time.perf_counter()
        self._validation = ""
        self._bar = tqdm.tqdm(
            initial=first,
            total=total,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 15.0,  # a log file wants few
            disable=jax.process_index() > 0,
        )

    def first_step(self) -> None:
        """Starts the clock: what came before was compilation."""
        self._step, self._time = self._step + 1, time.perf_counter()

    def update(
        self, step: int, row: dict[str, float], input_share: float = 0.0
    ) -> dict[str, float]:
        """Shows a row of means; returns it as log scalars, speed included.

        `input_share` of the time went into waiting for data; shown if it is high.
        """
        now = time.perf_counter()
        seconds, steps = now - self._time, step - self._step
        scalars = {f"train/{key}": value for key, value in row.items()}
        self._bar.update(step - self._bar.n)
        shown = f"loss {row['loss']:.3f}  lr {row['learning_rate']:.1e}"
        if "accuracy" in row:
            shown += f"  accuracy {row['accuracy']:.3f}"
        if steps:
            speed = steps * self._batch_size / seconds
            scalars["train/images_per_second"] = speed
            shown += f"  {speed:,.0f} images/s"
        if input_share >= HIGH_INPUT_SHARE:
            shown += f"  {input_share:.0%} waiting for data"
        self._bar.set_postfix_str(shown + self._validation, refresh=False)
        self._step, self._time = step, now
        return scalars

    def validated(self, validation: dict[str, float]) -> None:
        """Shows an evaluation from now on, and keeps its time out of the speed."""
        self._time = time.perf_counter()
        for key in ("top1", "mAP"):
            if key in validation:
                self._validation = f"  validation {key} {validation[key]:.3f}"

    def close(self) -> None:
        """Leaves the finished bar on the screen."""
        self._bar.refresh()
        self._bar.close()
