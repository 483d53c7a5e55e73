"""What `tokenjax predict` does: find, read, predict, and tell."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tqdm
from absl import flags

from tokenjax import path_flags, tables
from tokenjax.errors import DatasetError, UserError, shown
from tokenjax.evaluation import predictions
from tokenjax.evaluation.predictions import Predictions
from tokenjax.prediction.loading import WHICH, load
from tokenjax.prediction.picture_files import find_pictures
from tokenjax.prediction.pictures import in_batches, read_ahead
from tokenjax.prediction.predictor import Predictor
from tokenjax.tables import Column
from tokenjax.training.observation.progress import warn

MOST_DRAWN = 64  # pictures on a contact sheet
LONGEST_NAME = 60  # characters of a file's name in the table
Line = tuple[str, list[predictions.Score]]


def define_flags(values: flags.FlagValues) -> None:
    """Define the flags."""
    options: Any = {"flag_values": values}
    for name, text in (
        ("output", "write FILE.csv, FILE.json or FILE.npz, with probabilities"),
        ("figure", f"PNG of {MOST_DRAWN} pictures and what was looked at"),
        ("embed", "write FILE.npz with a vector for every picture"),
    ):
        path_flags.define(name, None, text, values)
    flags.DEFINE_integer("topk", 1, "classes that are named, 1 or more", 1, **options)
    text = "pictures at a time (default: the run's own, fewer for fewer pictures)"
    flags.DEFINE_integer("batch_size", None, text, 1, **options)
    text = "of a run's checkpoints (default: the one it is evaluated with)"
    flags.DEFINE_enum("which", None, WHICH, text, **options)
    text = "of the network's tokens, in place of the run's own: tome:r=8, none"
    flags.DEFINE_string("reduction", None, text, **options)
    text = (
        "of every channel, of images in 0..1, where a card does not tell: 0.5,0.5,0.5"
    )
    flags.DEFINE_list("mean", None, text, **options)
    flags.DEFINE_list("std", None, "likewise", **options)


def main(arguments: Sequence[str], values: flags.FlagValues) -> None:
    """Predict what pictures show, print the table and write the files.

    Args:
      arguments: the run's directory, then files, folders and patterns.
      values: the flags.

    Raises: UserError for whatever a user can mend, and if no picture could be read.
    """
    if len(arguments) < 2:
        raise UserError(
            "predict takes a run's directory, then pictures: tokenjax predict "
            "runs/mine photo.jpg"
        )
    run, *names = arguments
    _check_files(values)
    found = find_pictures(names)
    for problem in found.problems:
        warn(f"{problem}; passed over")
    if found.passed_over:
        warn(found.say_passed_over())
    mean, std = (_numbers(flag, values[flag].value) for flag in ("mean", "std"))
    predictor = load(
        run, values.which, values.batch_size, mean, std, values.reduction or None
    )
    predictor.check_scores()
    files = list(found.files)
    if values.batch_size is None:
        predictor.batch_size = min(predictor.batch_size, _next_power(len(files)))
    result, vectors, broken = predict(predictor, files, bool(values.embed))
    print(describe(result, values.topk))
    told = f", {len(broken)} not read" if broken else ""
    print(f"{_count(len(result), 'picture')}{told}")
    about = {"run": run, "model": predictor.card.model["name"]}
    if values.output:
        unread = [{"file": name, "reason": why} for name, why in broken.items()]
        document = {**about, "unread": unread}
        predictions.write(values.output, result, values.topk, document)
        print(f"{values.output}: every probability")
    if values.embed:
        arrays = {"names": np.array(result.names, np.str_), "vectors": vectors}
        predictions.write_arrays(pathlib.Path(values.embed), arrays)
        print(f"{values.embed}: vectors of {vectors.shape[1]} numbers")
    if values.figure:
        draw(predictor, result, values.figure)


def predict(
    predictor: Predictor, files: Sequence[pathlib.Path], embed: bool
) -> tuple[Predictions, np.ndarray, dict[str, str]]:
    """Return predictions, vectors (0, 0) unless `embed`, and why others are not read.

    Pictures are read by threads, ahead of the device.

    Raises: UserError if none could be read.
    """
    names: list[str] = []
    broken: dict[str, str] = {}

    def read(bar: tqdm.tqdm) -> Iterator[np.ndarray]:
        pictures = read_ahead(files, predictor.preparation)
        for path, picture in zip(files, pictures, strict=True):
            bar.update()
            if isinstance(picture, DatasetError):
                broken[str(path)] = str(picture)
                warn(f"{picture}; passed over")
                continue
            names.append(str(path))
            yield picture
        if not names:
            count = _count(len(files), "file")
            raise UserError(f"none of the {count} could be read as a picture")

    functions = [predictor.logits, *([predictor.vectors] if embed else [])]
    with tqdm.tqdm(total=len(files), unit="picture", delay=1, disable=None) as bar:
        batches = in_batches(read(bar), predictor.batch_size)
        arrays = predictor.run(batches, *functions)
    vectors = arrays[1] if embed else np.zeros((0, 0), np.float32)
    return Predictions(names, predictor.classes, arrays[0]), vectors, broken


def describe(result: Predictions, topk: int) -> str:
    """Return the table: a line for each picture."""
    count = min(topk, len(result.classes))

    def class_of(place: int) -> Column[Line]:
        heading = "Class" if place == 0 else f"{place + 1}."
        return Column(heading, lambda line: shown(line[1][place].name))

    def share_of(place: int) -> Column[Line]:
        return Column("%", lambda line: 100 * line[1][place].probability, ".2f")

    columns = [Column[Line]("File", lambda line: _shorten(shown(line[0])))]
    for place in range(count):
        columns += [class_of(place), share_of(place)]
    lines = list(zip(result.names, result.top(count), strict=True))
    return "\n".join(tables.text_lines(lines, columns))


def draw(predictor: Predictor, result: Predictions, path: str) -> None:
    """Draw a contact sheet of the first pictures, and say what is on it."""
    from tokenjax import plots  # matplotlib, needed at the end alone

    names = result.names[:MOST_DRAWN]
    images = predictor.preprocess([pathlib.Path(name) for name in names])
    size = predictor.batch_size
    looks = [
        plots.patch_maps(predictor.look(images[start : start + size]))
        for start in range(0, len(images), size)
    ]
    known = [maps for maps in looks if maps is not None]
    maps = np.concatenate(known) if len(known) == len(looks) else None
    titles = [
        f"{score.name} {score.probability:.0%}"
        for (score,) in result.top(1)[:MOST_DRAWN]
    ]
    captions = [pathlib.Path(name).name for name in names]
    plots.contact_sheet(images, titles, captions, path, maps)
    some = (
        f"the first {len(names)} of {len(result)}" if len(result) > len(names) else ""
    )
    seen = "" if maps is None else ", and what was looked at"
    print(f"{path}: {some or _count(len(names), 'picture')}{seen}")


def _check_files(values: flags.FlagValues) -> None:
    """Refuse before computing what could not be written after it."""
    if values.output:
        predictions.check_format(values.output, "output")
    if values.figure:
        predictions.check_format(values.figure, "figure", (".png",))
    if values.embed:
        predictions.check_format(values.embed, "embed", (".npz",))


def _numbers(flag: str, given: Sequence[str] | None) -> list[float] | None:
    if given is None:
        return None
    try:
        return [float(each) for each in given]
    except ValueError:
        raise UserError(
            f"--{flag} takes numbers like 0.5,0.5,0.5, got {','.join(given)}"
        ) from None


def _next_power(count: int) -> int:
    """Return the smallest power of two that is `count` or more."""
    return 1 << (count - 1).bit_length()


def _count(number: int, thing: str) -> str:
    return f"1 {thing}" if number == 1 else f"{number} {thing}s"


def _shorten(name: str) -> str:
    """Keep the end, which tells files apart."""
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
