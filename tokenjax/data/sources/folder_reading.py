"""How a folder of images was read, in one line, and what of it was not.

    image_folder photos: 3 classes (cat, dog, owl); train from train/; validation from
    val/; test: none, held out 10 % of train

and a warning for what lies beside what is read.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import tqdm
from absl import logging

from tokenjax.data.images.folder_contents import has_images
from tokenjax.data.images.image_files import ERRORS_NAMED, abridged
from tokenjax.data.sources.folder_layout import SOURCE, FolderLayout
from tokenjax.data.sources.part_folders import PARTS
from tokenjax.errors import shown


def describe(
    root: Path,
    layout: FolderLayout,
    class_names: Sequence[str],
    fractions: tuple[float, float],
) -> str:
    """Return the line; `fractions` are those held out for validation and test."""
    one = len(class_names) == 1
    names = ", ".join(class_names[:ERRORS_NAMED])
    rest = ", ..." if len(class_names) > ERRORS_NAMED else ""
    classes = f"{len(class_names)} class{'' if one else 'es'} ({names}{rest})"
    if not layout.parts:
        where = _below(root, layout.base)
        classes += f" from the folders in {where}" if where else " from its folders"
    shares = dict(zip(PARTS, (0.0, *fractions), strict=True))
    parts = [_part(root, layout, part, shares[part]) for part in PARTS]
    said = "; ".join([classes, *filter(None, parts)])
    return f"{SOURCE} {shown(root.resolve().name)}: {said}"


def _part(root: Path, layout: FolderLayout, part: str, share: float) -> str:
    """Return where a part comes from; "" for training images that are all there are."""
    if part in layout.parts:
        return f"{part} from {_below(root, layout.parts[part])}"
    if part == "train":
        return "train: none" if layout.parts else ""
    said = f"{part}: none"
    if part in layout.unlabelled:
        folder = _below(root, layout.unlabelled[part])
        said = f"{part}: {folder} has no classes and is not read"
    if share and (not layout.parts or "train" in layout.parts):
        of = "train" if layout.parts else "all"
        said += f", held out {share * 100:g} % of {of}"
    return said


def _below(root: Path, folder: Path) -> str:
    """Return a folder's path from the root on; "" for the root."""
    path = folder.relative_to(root).as_posix()
    return "" if path == "." else shown(f"{path}/")


def say(sentence: str) -> None:
    """Print a line on stderr, from the first process of several.

    What a command prints on stdout stays its result. Characters that the terminal's
    encoding lacks are escaped: no reason to stop.
    """
    # Asked for the process alone, jax would start its devices.
    if jax.distributed.is_initialized() and jax.process_index() > 0:
        return
    encoding = sys.stderr.encoding or "utf-8"
    line = sentence.encode(encoding, "backslashreplace").decode(encoding)
    tqdm.tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()


def warn_of_unread(root: Path, layout: FolderLayout) -> None:
    """Say which folders and images lie beside those that are read."""
    if layout.beside:
        names = ", ".join(sorted(_beside(layout)))
        others = [_below(root, path).rstrip("/") for path in layout.beside]
        logging.warning(
            "%s: beside %s, not read: %s", SOURCE, names, abridged(sorted(others))
        )
    unread = [part for part in layout.unlabelled if part not in PARTS]
    if unread:
        folders = [_below(root, layout.unlabelled[part]) for part in unread]
        logging.warning("%s: without classes, not read: %s", SOURCE, abridged(folders))
    loose = [path for path in _levels(root, layout) if has_images(path)]
    if loose:
        logging.warning(
            "%s: images right in a folder of classes have no class, not read: %s",
            *(SOURCE, abridged([shown(path) for path in loose])),
        )


def _beside(layout: FolderLayout) -> list[str]:
    """Name what is read: the parts, or the folder around the classes."""
    if not layout.parts:
        return [shown(layout.base.name)]
    names = [
        shown(path.relative_to(layout.base).parts[0]) for path in layout.parts.values()
    ]
    return [f"the parts {', '.join(sorted(names))}"]


def _levels(root: Path, layout: FolderLayout) -> list[Path]:
    """Return the folders on the way to the classes."""
    ends = layout.parts.values() or [layout.base]
    levels = {root: None}
    for end in ends:
        steps = end.relative_to(root).parts
        levels |= {root.joinpath(*steps[: n + 1]): None for n in range(len(steps))}
    return list(levels)
