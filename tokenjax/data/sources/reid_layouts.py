"""Re-identification folders -> samples: files that belong together, who and where.

    RGBNT201   {train_171,test}/{RGB,NI,TI}/000258_cam1_0_01.jpg
    RGBNT100   rgbir/{bounding_box_train,query,bounding_box_test}/0001_c1_00.jpg
               one file of 768 x 128: RGB, NIR and TIR side by side
    MSVR310    {bounding_box_train,query3,bounding_box_test}/0001/{vis,ni,th}/
               0001_s001_v1_00.jpg

Files of one sample have one name, whatever their extension; .jpg, .jpeg and .png are
read and hidden files passed over. Identity, camera and scene stand in the name as whole
numbers of any length: cam12 is camera 12. An identity may also be -1 (`reid_nobody`).
Everything that is wrong is gathered before `DatasetError` is raised.
"""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenjax.data.images.image_files import ImageTree, abridged
from tokenjax.data.images.image_sizes import Box
from tokenjax.errors import DatasetError, shown

Modality = Literal["rgb", "nir", "tir"]
MODALITIES: tuple[Modality, ...] = ("rgb", "nir", "tir")
LARGEST = 2**31 - 1  # identity or scene that an array of int32 holds
MOST_CAMERAS = 10_000  # a model may have a row for each; a longer number is a date


@dataclass(frozen=True)
class Sample:
    """Images of one moment: a file per modality, None where it is not on disk.

    One file for all of them stands there once for each.
    """

    files: tuple[Path | None, ...]
    identity: int
    camera: int  # from 0
    scene: int  # 0 where the set has none


@dataclass(frozen=True)
class Part:
    """Folder of samples, and its role; training when it is neither."""

    folder: str
    query: bool = False
    gallery: bool = False


@dataclass(frozen=True)
class Layout:
    """Form in which one set lies on disk; `name` is also the source's."""

    name: str
    above: tuple[str, ...]  # folders between the original's root and the parts
    parts: tuple[Part, ...]  # the training one first
    modality_folders: tuple[str, ...]  # "" alone: one file holds all modalities
    by_identity: bool  # one folder per identity around those of the modalities
    pattern: re.Pattern[str]  # groups "identity", "camera" and perhaps "scene"
    example: str
    first_camera: int  # its number in names
    num_cameras: int  # of the published set; others may have more
    same: str
    boxes: tuple[Box, ...] = ()  # where the modalities lie in one file
    modalities: tuple[str, ...] = MODALITIES

    def limited_to(self, modalities: tuple[str, ...]) -> "Layout":
        """Return the layout of some of the modalities, in the order given.

        Raises: DatasetError for none, or one that is named twice.
        """
        if not modalities or len(set(modalities)) < len(modalities):
            raise DatasetError(
                f"{self.name}: modalities are one or more of "
                f"{', '.join(self.modalities)}, each once, got {modalities}"
            )
        places = [self.modalities.index(name) for name in modalities]
        folders, boxes = self.modality_folders, self.boxes
        if boxes:
            boxes = tuple(boxes[place] for place in places)
        else:
            folders = tuple(folders[place] for place in places)
        return dataclasses.replace(
            self, modalities=modalities, modality_folders=folders, boxes=boxes
        )


RGBNT201 = Layout(
    name="rgbnt201",
    above=("RGBNT201",),
    parts=(Part("train_171"), Part("test", query=True, gallery=True)),
    modality_folders=("RGB", "NI", "TI"),
    by_identity=False,
    pattern=re.compile(
        r"(?P<identity>-1|\d+)([^_\d][^_]*)?_[^_\d]{3}(?P<camera>\d+)", re.ASCII
    ),
    example="000258_cam1_0_01.jpg",
    first_camera=1,
    num_cameras=4,
    same="camera",
)
RGBNT100 = Layout(
    name="rgbnt100",
    above=("RGBNT100", "rgbir"),
    parts=(
        Part("bounding_box_train"),
        Part("query", query=True),
        Part("bounding_box_test", gallery=True),
    ),
    modality_folders=("",),
    by_identity=False,
    pattern=re.compile(r"(?P<identity>-1|\d+)_c(?P<camera>\d+)", re.ASCII),
    example="0001_c1_00.jpg",
    first_camera=1,
    num_cameras=8,
    same="camera",
    boxes=((0, 0, 256, 128), (256, 0, 512, 128), (512, 0, 768, 128)),
)
MSVR310 = Layout(
    name="msvr310",
    above=("MSVR310",),
    parts=(
        Part("bounding_box_train"),
        Part("query3", query=True),
        Part("bounding_box_test", gallery=True),
    ),
    modality_folders=("vis", "ni", "th"),
    by_identity=True,
    pattern=re.compile(
        r"(?P<identity>-1|\d+)_s(?P<scene>\d+)_v(?P<camera>\d+)", re.ASCII
    ),
    example="0001_s001_v1_00.jpg",
    first_camera=0,
    num_cameras=8,
    same="scene",
)


def read_samples(
    layout: Layout, directory: str, missing: str, outside_links: bool = False
) -> list[list[Sample]]:
    """Return the samples of each of the layout's parts, by folder and name.

    `directory` holds the parts, or `layout.above` or its end down to them. `missing`:
    "error", or "zeros" to keep samples of which some modality is not on disk.
    """
    root, name = _find_root(layout, directory), layout.name
    tree = ImageTree(root, outside_links)
    scan = _Scan(layout, tree, absent=[], misnamed=[], empty=[], doubled=[])
    samples = [scan.part(root / part.folder) for part in layout.parts]
    tree.check(name)
    if scan.empty:
        raise DatasetError(
            f"{name}: no .jpg, .jpeg or .png file in {abridged(scan.empty)}"
        )
    if scan.misnamed:
        raise DatasetError(
            f"{name}: {len(scan.misnamed)} files are not named as {layout.example}, "
            f"camera {layout.first_camera} to {MOST_CAMERAS}: {abridged(scan.misnamed)}"
        )
    if scan.doubled:
        raise DatasetError(
            f"{name}: {len(scan.doubled)} files differ from another one in the "
            f"extension alone: {abridged(scan.doubled)}"
        )
    if scan.absent and missing == "error":
        raise DatasetError(
            f"{name}: {len(scan.absent)} images are not on disk (missing='zeros' does "
            f"without them): {abridged(scan.absent)}"
        )
    return samples


def _find_root(layout: Layout, directory: str) -> Path:
    """Return the folder that holds the parts, all of them."""
    if not directory:
        raise DatasetError(
            f"{layout.name} needs a directory: --config.data.directory=PATH"
        )
    given = Path(directory).expanduser()
    if not given.is_dir():
        raise DatasetError(f"{layout.name}: {shown(given)} is not a directory")
    ends = range(len(layout.above), -1, -1)
    roots = [given.joinpath(*layout.above[start:]) for start in ends]
    folders = [part.folder for part in layout.parts]
    root = next((root for root in roots if (root / folders[0]).is_dir()), given)
    lacking = [name for name in folders if not (root / name).is_dir()]
    if lacking:
        raise DatasetError(
            f"{layout.name}: {shown(root)} has no folder {', '.join(lacking)}"
        )
    return root


@dataclass(frozen=True)
class _Scan:
    """Files of parts as they are listed, and what was found wrong with them."""

    layout: Layout
    tree: ImageTree
    absent: list[str]
    misnamed: list[str]
    empty: list[str]
    doubled: list[str]

    def part(self, folder: Path) -> list[Sample]:
        if not self.tree.is_folder(folder):  # a link that may not be followed
            return []
        groups = self.tree.folders(folder) if self.layout.by_identity else [folder]
        if not groups:
            self.empty.append(shown(folder))
        return [sample for group in groups for sample in self._group(group)]

    def _group(self, folder: Path) -> list[Sample]:
        """Return the samples of one folder that holds those of the modalities."""
        folders = [folder / name for name in self.layout.modality_folders]
        files = [self._files(each) for each in folders]  # one dict per modality
        names: dict[str, Path] = {}  # every name, with a file that bears it
        for found in files:
            names = found | names
        if not names:
            self.empty.append(shown(folder))
        samples = []
        for stem in sorted(names):
            for found, place in zip(files, folders, strict=True):
                if stem not in found:
                    self.absent.append(shown(place / names[stem].name))
            sample = self._sample(names[stem], tuple(each.get(stem) for each in files))
            samples += [sample] if sample else []
        return samples

    def _files(self, folder: Path) -> dict[str, Path]:
        """Return every image file by its name without extension."""
        found: dict[str, Path] = {}
        for path in self.tree.files(folder) if self.tree.is_folder(folder) else []:
            if path.stem in found:
                self.doubled.append(shown(path))
            found[path.stem] = path
        return found

    def _sample(self, path: Path, files: tuple[Path | None, ...]) -> Sample | None:
        layout = self.layout
        match = layout.pattern.match(path.name)
        fields = {k: int(v) for k, v in match.groupdict().items()} if match else {}
        camera, scene = fields.get("camera", -1), fields.get("scene", 0)
        identity = fields.get("identity", 0)
        numbered = layout.first_camera <= camera <= MOST_CAMERAS
        if not numbered or max(identity, scene) > LARGEST:
            self.misnamed.append(shown(path))
            return None
        copies = len(self.layout.modalities) // len(files)
        return Sample(files * copies, identity, camera - layout.first_camera, scene)
