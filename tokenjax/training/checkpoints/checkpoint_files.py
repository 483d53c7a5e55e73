"""The files below workdir/checkpoints, looked at one by one.

    <step>/state/                Orbax: the arrays
    <step>/metrics/metrics       {"best_metric": what "best" is judged by}, if any
    <step>/_CHECKPOINT_METADATA  Orbax's, the number of our format, and the run's card
    checksums/<step>.json        sha256 of every file of state/ and metrics/
    damaged-<step>/              set aside, with its checksums.json; never deleted here
    <step>.orbax-checkpoint-tmp  being written: a leftover when a run starts
    deleted/                     on its way out: a leftover too

Order of writing: the arrays, their checksums, then Orbax renames the directory to
<step>. So a kill at any moment leaves a whole checkpoint with checksums, or leftovers.
Without checksums are those of tokenjax 0.1, when it was killed just then.

Formats: 0 had no number; of 1 and 0 a checkpoint that was not evaluated has the metric
-1; of 2 it has no metric, so that any number may be one.
"""

import contextlib
import hashlib
import math
import pathlib
import shutil

import orbax.checkpoint as ocp

from tokenjax import card, storage
from tokenjax.card import Card
from tokenjax.errors import CheckpointError, DamagedCheckpointError, first_line

METRIC = "best_metric"
FORMAT = 2
WITHOUT_METRIC = 2  # the first format in which a checkpoint may have none
NOT_EVALUATED = -1.0  # the mark of the formats before
METRIC_FILE = "metrics/metrics"
FORMAT_KEY = "tokenjax_format"
CARD_KEY = "tokenjax_card"
DELETED = "deleted"
_TEMPORARY = ".orbax-checkpoint-tmp"


class CheckpointFiles:
    """The directory of a run's checkpoints."""

    def __init__(self, root: pathlib.Path):
        self.root = root

    def steps(self) -> list[int]:
        """Return the steps on disk, ascending, whole or not."""
        if not self.root.is_dir():
            return []
        names = [path.name for path in self.root.iterdir()]
        decimal = [name for name in names if name.isascii() and name.isdecimal()]
        return sorted(int(name) for name in decimal if name == str(int(name)))

    def directory(self, step: int) -> pathlib.Path:
        """Return that of one checkpoint."""
        return self.root / str(step)

    def sidecar(self, step: int) -> pathlib.Path:
        """Return the file with its checksums."""
        return self.root / "checksums" / f"{step}.json"

    def metric(self, step: int) -> float | None:
        """Return what "best" is judged by, None if the checkpoint was not evaluated.

        Its file is held to its checksum.

        Raises: DamagedCheckpointError, or CheckpointError for a format to come.
        """
        where, number = self.directory(step), self._format(step)
        checksums = self._checksums(step)
        listed = checksums is not None and METRIC_FILE in checksums
        if number >= WITHOUT_METRIC and not (where / METRIC_FILE).exists():
            if listed:
                raise _damaged(where, f"{METRIC_FILE} is gone since it was saved")
            return None
        value = _read(where / METRIC_FILE, where).get(METRIC)
        if not isinstance(value, float) or not math.isfinite(value):
            raise _damaged(where, f"{METRIC_FILE} holds no number {METRIC!r}")
        if checksums is not None:
            digest = hashlib.sha256((where / METRIC_FILE).read_bytes()).hexdigest()
            if checksums.get(METRIC_FILE) != digest:
                raise _damaged(where, f"{METRIC_FILE} changed since it was saved")
        if number < WITHOUT_METRIC and value == NOT_EVALUATED:
            return None
        return value

    def card(self, step: int) -> Card | None:
        """Return the card of the run as it was then; None in those of before cards.

        Raises: CheckpointError if it was edited, or is of a format to come.
        """
        where = self.directory(step)
        value = self._custom(step).get(CARD_KEY)
        if value is None:
            return None
        return card.from_json(value, where / "_CHECKPOINT_METADATA")

    def _custom(self, step: int) -> dict:
        """Raises: DamagedCheckpointError."""
        where = self.directory(step)
        custom = _read(where / "_CHECKPOINT_METADATA", where).get("custom_metadata")
        return custom if isinstance(custom, dict) else {}

    def _format(self, step: int) -> int:
        """Raises: DamagedCheckpointError, or CheckpointError for a format to come."""
        where = self.directory(step)
        number = self._custom(step).get(FORMAT_KEY, 0)
        storage.check_format(number, where, FORMAT)
        return number

    def glance(self, step: int) -> None:
        """Look at the small files alone: those that Orbax reads of every step.

        Raises: DamagedCheckpointError, or CheckpointError for a format to come.
        """
        where = self.directory(step)
        if not (where / "state").is_dir():
            raise _damaged(where, "it holds no directory state")
        self.metric(step)
        try:  # what Orbax's manager will ask
            names = ocp.path.step.standard_name_format()
            _ = names.find_step(self.root, step).commit_timestamp
        except Exception as error:
            reason = f"_CHECKPOINT_METADATA: {first_line(error)}"
            raise _damaged(where, reason) from error

    def check(self, step: int) -> bool:
        """Hold every file to its checksum; False if there are no checksums.

        Raises: DamagedCheckpointError, or CheckpointError for a format to come.
        """
        self.glance(step)
        checksums = self._checksums(step)
        if checksums is not None:
            storage.verify_directory(self.directory(step), checksums)
        return checksums is not None

    def _checksums(self, step: int) -> dict[str, str] | None:
        sidecar = self.sidecar(step)
        if not sidecar.exists():
            return None
        try:
            return _read(sidecar, self.directory(step))
        except DamagedCheckpointError as error:
            hint = "delete that file to read the checkpoint unchecked"
            raise DamagedCheckpointError(f"{error} ({hint})") from error

    def is_whole(self, step: int) -> bool:
        """Return whether `check` finds nothing wrong."""
        try:
            self.check(step)
        except CheckpointError:
            return False
        return True

    def write_checksums(self, step: int) -> None:
        """Write those of a step, all on the disk, that Orbax renames now or has."""
        found = sorted(self.root.glob(f"{step}{_TEMPORARY}*"))
        checksums = {}
        for item in ("state", "metrics"):
            directory = (found[-1] if found else self.directory(step)) / item
            for name, digest in storage.directory_checksums(directory, True).items():
                checksums[f"{item}/{name}"] = digest
        self.sidecar(step).parent.mkdir(exist_ok=True)
        storage.write_json(self.sidecar(step), checksums)

    def set_aside(self, step: int) -> pathlib.Path:
        """Rename a damaged checkpoint, with its checksums, so that nobody lists it."""
        place, number = self.root / f"damaged-{step}", 1
        while place.exists():
            number += 1
            place = self.root / f"damaged-{step}-{number}"
        self.directory(step).rename(place)
        if self.sidecar(step).exists() and place.is_dir():
            self.sidecar(step).rename(place / storage.CHECKSUMS)
        return place

    def clear(self) -> None:
        """Remove what a kill or a failure left, and what Orbax gave up."""
        for leftover in self.root.glob(f"*{_TEMPORARY}*"):
            _remove(leftover)
        self.clear_given_up()

    def clear_given_up(self) -> None:
        """Remove what Orbax gave up, while a checkpoint may be on its way."""
        _remove(self.root / DELETED)
        for sidecar in self.sidecar(0).parent.glob("*.json"):
            if not (self.root / sidecar.stem).exists():
                _remove(sidecar)


def _remove(path: pathlib.Path) -> None:
    """Remove it, whatever it is; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _read(path: pathlib.Path, where: pathlib.Path) -> dict:
    """Raises: DamagedCheckpointError unless it is a JSON object."""
    try:
        value = storage.read_json(path)
    except CheckpointError as error:
        raise _damaged(where, str(error)) from error
    if not isinstance(value, dict):
        raise _damaged(where, f"{path} holds no JSON object")
    return value


def _damaged(where: pathlib.Path, reason: str) -> DamagedCheckpointError:
    return DamagedCheckpointError(f"{where} is damaged: {reason}")
