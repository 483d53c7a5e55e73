"""SIGTERM and SIGINT as a wish to stop, taken up between two steps."""

import signal
from types import FrameType


class StopRequest:
    """Context manager; `requested` turns true with the first signal.

    A second signal acts as usual, so an impatient Ctrl-C still ends the program.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, self._previous[number])  # type: ignore[arg-type]
