"""The progress bar, which only shows, and lines said beside it."""

import sys
from collections.abc import Mapping

import jax
import tqdm

HIGH_INPUT_SHARE = 0.05  # from here on the bar shows how much of the time data costs


def say(sentence: str) -> None:
    """Print a line on stdout that leaves the bar whole; the first process says it."""
    if jax.process_index() > 0:
        return
    tqdm.tqdm.write(sentence, file=sys.stdout)
    sys.stdout.flush()


def note(sentence: str) -> None:
    """Print a line on stderr that leaves the bar whole; the first process says it."""
    if jax.process_index() > 0:
        return
    tqdm.tqdm.write(f"note: {sentence}", file=sys.stderr)
    sys.stderr.flush()


def warn(sentence: str) -> None:
    """Print a line on stderr, the bar left whole; of many processes it names this."""
    who = f"process {jax.process_index()}: " if jax.process_count() > 1 else ""
    tqdm.tqdm.write(f"warning: {who}{sentence}", file=sys.stderr)
    sys.stderr.flush()


class Progress:
    """Loss, accuracy, learning rate and images/s, on the first process."""

    def __init__(self, first: int, total: int):
        self._validation = ""
        self._bar = tqdm.tqdm(
            initial=first,
            total=total,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 15.0,  # a log file wants few
            disable=jax.process_index() > 0,
        )

    def update(
        self,
        step: int,
        means: Mapping[str, float],
        images_per_second: float | None = None,
        input_share: float = 0.0,
    ) -> None:
        """Show the means of the steps since the last time, and how fast they were.

        `input_share` of the time went into waiting for data; shown if it is high.
        """
        self._bar.update(step - self._bar.n)
        shown = f"loss {means['loss']:.3f}  lr {means['learning_rate']:.1e}"
        if "accuracy" in means:
            shown += f"  accuracy {means['accuracy']:.3f}"
        if images_per_second is not None:
            shown += f"  {images_per_second:,.0f} images/s"
        if input_share >= HIGH_INPUT_SHARE:
            shown += f"  {input_share:.0%} waiting for data"
        self._bar.set_postfix_str(shown + self._validation, refresh=False)

    def validated(self, name: str, value: float) -> None:
        """Show a scalar of an evaluation from now on."""
        self._validation = f"  validation {name} {value:.3f}"

    def close(self) -> None:
        """Leave the finished bar on the screen."""
        self._bar.refresh()
        self._bar.close()
