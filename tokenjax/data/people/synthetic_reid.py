"""A made-up set of people in three modalities, in the folders of RGBNT201.

    python -m tokenjax.data.synthetic_reid --output DIR --identities 80 --seed 0

    DIR/train_171/{RGB,NI,TI}/000001_cam1_0_00.jpg    DIR/test/{RGB,NI,TI}/...
    DIR/synthetic_reid.json                           settings and format version

The first six characters are the identity, from 1; cameras count from 1; the last two
digits count the pictures of one identity by one camera. The folder is called train_171
as in RGBNT201, whatever the number of identities. The first `train_fraction` of the
identities are for training, the rest for the test.

A picture is a function of (seed, identity, camera, picture) and the image size: more
identities or cameras leave those that were there as they are. Everything is drawn
(person_attributes, person_drawing, clutter_drawing, person_cameras): nobody in these
pictures exists, and none of them stands for RGBNT201's difficulty.
"""

import json
import runpy
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tokenjax.data.partition import generator
from tokenjax.data.people.clutter_drawing import paint_background, paint_foreground
from tokenjax.data.people.person_attributes import draw_person
from tokenjax.data.people.person_cameras import aim, draw_camera, record
from tokenjax.data.people.person_drawing import paint_person
from tokenjax.data.people.person_skeleton import draw_pose
from tokenjax.errors import DatasetError

FORMAT = 1
MANIFEST = "synthetic_reid.json"
TRAIN, TEST = "train_171", "test"
MODALITIES = ("RGB", "NI", "TI")
SMALLEST = (32, 16)  # height and width in which a person is still one
JPEG_QUALITY = 95

# First numbers of the paths of random streams: no two purposes share one.
_PERSON, _CAMERA, _POSE, _SCENE, _SENSORS = range(5)


def generate(
    directory: Path,
    identities: int = 80,
    seed: int = 0,
    *,
    height: int = 128,
    width: int = 64,
    images_per_camera: int = 3,
    cameras: int = 4,
    train_fraction: float = 0.5,
) -> None:
    """Write the set to `directory`, or leave it if it is there already.

    Training and test keep two identities each, whatever the fraction.

    Raises: DatasetError for settings out of range, and for a directory that holds
    other settings or anything else.
    """
    settings = {
        "identities": identities,
        "seed": seed,
        "height": height,
        "width": width,
        "images_per_camera": images_per_camera,
        "cameras": cameras,
        "train_fraction": train_fraction,
    }
    _check(settings)
    directory = Path(directory).resolve()
    if _is_there(directory, settings):
        return
    # Whoever makes the same set at the same time, in this process or another one.
    temporary = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}.tmp")
    try:
        _write(temporary, settings)
        temporary.rename(directory)  # also onto an empty directory
    except OSError as error:
        if _is_there(directory, settings):  # another process was faster
            return
        raise DatasetError(f"cannot write {directory}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def render(
    seed: int, identity: int, camera: int, number: int, height: int, width: int
) -> dict[str, np.ndarray]:
    """Draw one sample: RGB, NI, TI uint8 (height, width, 3); all count from 0."""
    place = identity, camera, number
    person = draw_person(generator(seed, _PERSON, identity))
    view = draw_camera(generator(seed, _CAMERA, camera), camera)
    random = generator(seed, _POSE, *place)
    pose = draw_pose(random, view.yaw)
    canvas = aim(view, random, height, width)
    scene = generator(seed, _SCENE, *place)
    paint_background(canvas, view.palette, scene)
    paint_person(canvas, person, pose)
    paint_foreground(canvas, scene)
    return record(canvas, view, generator(seed, _SENSORS, *place))


def _check(settings: dict[str, Any]) -> None:
    bounds = {
        "identities": (4, 999_999),
        "seed": (0, 2**63 - 1),
        "height": (SMALLEST[0], 1024),
        "width": (SMALLEST[1], 1024),
        "images_per_camera": (1, 100),
        "cameras": (2, 9),
    }
    for name, (least, most) in bounds.items():
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, int):
            raise DatasetError(f"synthetic_reid: {name} is an integer, got {value!r}")
        if not least <= value <= most:
            raise DatasetError(
                f"synthetic_reid: {name} is from {least} to {most}, got {value}"
            )
    fraction = settings["train_fraction"]
    if not isinstance(fraction, float) or not 0 < fraction < 1:
        raise DatasetError(
            f"synthetic_reid: train_fraction is between 0 and 1, got {fraction!r}"
        )


def _is_there(directory: Path, settings: dict[str, Any]) -> bool:
    """Return whether `directory` holds this set.

    Raises `DatasetError` if it holds another.
    """
    if not directory.exists():
        return False
    if not directory.is_dir():
        raise DatasetError(f"synthetic_reid: {directory} is a file, not a directory")
    manifest = directory / MANIFEST
    if not manifest.is_file():
        if any(directory.iterdir()):
            raise DatasetError(
                f"synthetic_reid: {directory} is not empty and has no {MANIFEST}; "
                "name another directory"
            )
        return False
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{manifest} cannot be read: {error}") from error
    wanted = {"format": FORMAT, "settings": settings}
    if found != wanted:
        raise DatasetError(
            f"synthetic_reid: {directory} was made with other settings "
            f"({_differences(found, wanted)}); name another directory or remove it"
        )
    return True


def _differences(found: object, wanted: dict[str, Any]) -> str:
    """Say in which settings two sets differ: "identities 8 there, 80 asked for"."""
    there = found.get("settings") if isinstance(found, dict) else None
    ours = isinstance(found, dict) and found.get("format") == FORMAT
    if not ours or not isinstance(there, dict):
        return f"another format than {FORMAT}"
    return "; ".join(
        f"{name} {there.get(name)} there, {value} asked for"
        for name, value in wanted["settings"].items()
        if there.get(name) != value
    )


def _samples(settings: dict[str, Any]) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield the part, and (identity, camera, number) from 0, of every sample."""
    count = settings["identities"]
    train = min(max(round(count * settings["train_fraction"]), 2), count - 2)
    for identity in range(count):
        for camera in range(settings["cameras"]):
            for number in range(settings["images_per_camera"]):
                yield TRAIN if identity < train else TEST, (identity, camera, number)


def _write(directory: Path, settings: dict[str, Any]) -> None:
    from PIL import Image
    from tqdm import tqdm

    for part in (TRAIN, TEST):
        for modality in MODALITIES:
            (directory / part / modality).mkdir(parents=True)
    samples = list(_samples(settings))
    size = settings["height"], settings["width"]
    bar = tqdm(samples, "drawing people", unit="sample", delay=1, leave=False)
    for part, (identity, camera, number) in bar:
        name = f"{identity + 1:06d}_cam{camera + 1}_0_{number:02d}.jpg"
        images = render(settings["seed"], identity, camera, number, *size)
        for modality, image in images.items():
            Image.fromarray(image).save(
                directory / part / modality / name, quality=JPEG_QUALITY, subsampling=0
            )
    manifest = {"format": FORMAT, "settings": settings}
    (directory / MANIFEST).write_text(
        json.dumps(manifest, indent=2) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.data", run_name="__main__")
