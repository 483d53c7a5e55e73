import json

import numpy as np
import pytest
from helpers.entry_points import run_in_process
from PIL import Image

from tokenjax.data.people import synthetic_reid
from tokenjax.data.people.synthetic_reid import MANIFEST, MODALITIES, generate, render
from tokenjax.errors import DatasetError

SIZE = {"height": 32, "width": 16}
SMALL = SIZE | {"identities": 5, "images_per_camera": 2, "cameras": 3}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("parent") / "set"
    generate(path, seed=3, **SMALL)
    return path


def contents(directory) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def names(directory, part: str, modality: str) -> list[str]:
    return sorted(path.name for path in (directory / part / modality).iterdir())


def test_folders_and_names_are_those_of_rgbnt201(directory):
    wanted = {
        f"{identity:06d}_cam{camera}_0_{number:02d}.jpg"
        for identity in range(1, 6)
        for camera in (1, 2, 3)
        for number in (0, 1)
    }
    found = {}
    for part in ("train_171", "test"):
        rgb, ni, ti = (names(directory, part, modality) for modality in MODALITIES)
        assert rgb == ni == ti
        found[part] = rgb
    assert sorted(found["train_171"] + found["test"]) == sorted(wanted)
    identities = {part: {name[:6] for name in found[part]} for part in found}
    assert identities["train_171"].isdisjoint(identities["test"])
    assert {len(part) for part in identities.values()} == {2, 3}
    cameras = {int(name.split("_")[1][3]) for name in found["test"]}
    assert cameras == {1, 2, 3}
    assert sorted(path.name for path in directory.iterdir()) == [
        MANIFEST,
        "test",
        "train_171",
    ]
    assert list(directory.parent.iterdir()) == [directory]  # nothing temporary left


def test_files_are_rgb_images_of_the_size_asked_for(directory):
    for path in directory.rglob("*.jpg"):
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((16, 32), "RGB")


def test_the_same_settings_give_the_same_bytes(directory, tmp_path):
    generate(tmp_path, seed=3, **SMALL)  # into a directory that is there, empty
    assert contents(tmp_path) == contents(directory)
    generate(tmp_path / "other", seed=4, **SMALL)
    other, first = contents(tmp_path / "other"), contents(directory)
    pictures = [name for name in first if name.endswith(".jpg")]
    assert all(other[name] != first[name] for name in pictures)


def test_a_picture_does_not_depend_on_how_many_there_are(directory, tmp_path):
    more = {"identities": 7, "images_per_camera": 3, "cameras": 4}
    generate(tmp_path / "more", seed=3, train_fraction=0.3, **(SIZE | more))

    def by_name(path):
        pairs = contents(path).items()
        return {"/".join(name.split("/")[1:]): data for name, data in pairs}

    few, many = by_name(directory), by_name(tmp_path / "more")
    few.pop("")  # the manifest
    assert len(few) == 5 * 3 * 2 * 3
    assert few.items() <= many.items()


@pytest.mark.parametrize(
    ("fraction", "train"), [(0.01, 2), (0.5, 3), (0.7, 4), (0.99, 4)]
)
def test_both_parts_keep_two_identities(tmp_path, fraction, train):
    settings = SIZE | {"identities": 6, "images_per_camera": 1, "cameras": 2}
    generate(tmp_path / "set", train_fraction=fraction, **settings)
    count = len({name[:6] for name in names(tmp_path / "set", "train_171", "NI")})
    assert count == train
    assert (
        len({name[:6] for name in names(tmp_path / "set", "test", "NI")}) == 6 - train
    )


def test_a_set_that_is_there_is_left_alone(directory):
    victim = directory / "test" / "RGB" / names(directory, "test", "RGB")[0]
    before = victim.stat().st_mtime_ns
    generate(directory, seed=3, **SMALL)
    assert victim.stat().st_mtime_ns == before
    with pytest.raises(DatasetError, match="seed 3 there, 4 asked for"):
        generate(directory, seed=4, **SMALL)
    with pytest.raises(DatasetError, match="identities 5 there, 6 asked for"):
        generate(directory, seed=3, **(SMALL | {"identities": 6}))


@pytest.mark.parametrize(
    "text",
    ["not json", "[]", '{"format": 0, "settings": {}}', '{"format": 1, "settings": 2}'],
)
def test_a_manifest_that_is_not_ours(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DatasetError, match=r"format|cannot be read"):
        generate(tmp_path, **SMALL)
    assert contents(tmp_path) == {MANIFEST: text.encode()}


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="not empty"):
        generate(tmp_path, **SMALL)
    with pytest.raises(DatasetError, match=r"notes\.txt is a file"):
        generate(tmp_path / "notes.txt", **SMALL)
    with pytest.raises(DatasetError, match="cannot write"):
        generate(tmp_path / "notes.txt" / "set", **SMALL)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    calls = []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise OSError("no space left on device")
        return render(*arguments)

    monkeypatch.setattr(synthetic_reid, "render", failing)
    with pytest.raises(DatasetError, match="no space left"):
        generate(tmp_path / "set", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("identities", 3),
        ("identities", 8.0),
        ("seed", -1),
        ("height", 31),
        ("width", 15),
        ("images_per_camera", 0),
        ("images_per_camera", 101),
        ("cameras", 1),
        ("cameras", 10),
        ("train_fraction", 0.0),
        ("train_fraction", 1.0),
        ("train_fraction", float("nan")),
        ("train_fraction", "half"),
    ],
)
def test_settings_out_of_range_are_named(tmp_path, name, value):
    with pytest.raises(DatasetError, match=name):
        generate(tmp_path / "set", **(SMALL | {name: value}))
    assert list(tmp_path.iterdir()) == []


def edges(image: np.ndarray) -> np.ndarray:
    """Where a picture changes from one pixel to the next, whatever its colours."""
    grey = image.astype(float).mean(axis=-1)
    across, down = np.diff(grey, axis=1)[:-1], np.diff(grey, axis=0)[:, :-1]
    change = np.hypot(across, down)
    return change / change.mean()


def test_modalities_differ_and_show_the_same_geometry():
    agreement, displaced = [], []
    for identity in range(6):
        images = render(0, identity, 0, 0, 96, 48)
        assert list(images) == list(MODALITIES)
        for image in images.values():
            assert image.dtype == np.uint8
            assert image.shape == (96, 48, 3)
        nir = images["NI"]
        assert (nir == nir[..., :1]).all()
        for one, other in (("RGB", "NI"), ("RGB", "TI"), ("NI", "TI")):
            difference = images[one].astype(int) - images[other]
            assert np.abs(difference).mean() > 10
        there, here = edges(images["NI"]), edges(images["TI"])
        agreement.append((there * here).mean())
        displaced.append((np.roll(there, 8, axis=1) * here).mean())
    assert np.mean(agreement) > 1.1 * np.mean(displaced)


def test_each_modality_carries_identity():
    """Pictures of one person by one camera are nearer to each other than to others'."""
    pictures = [
        [render(3, identity, 0, number, 64, 32) for number in range(4)]
        for identity in range(8)
    ]
    for modality in MODALITIES:
        stack = np.array([[views[modality] for views in row] for row in pictures])
        pooled = stack.reshape(8, 4, 8, 8, 4, 8, 3).mean(axis=(3, 5)).reshape(8, 4, -1)
        distance = np.linalg.norm(
            pooled[:, :, None, None] - pooled[None, None], axis=-1
        )  # (identity, number, identity, number)
        same = np.eye(8, dtype=bool)[:, None, :, None]
        same = np.broadcast_to(same, distance.shape)
        other_picture = distance > 0
        near, far = distance[same & other_picture].mean(), distance[~same].mean()
        assert near < 0.95 * far, modality


def test_the_command(tmp_path):
    flags = "--identities 4 --seed 2 --height 32 --width 16 --images_per_camera 1"
    finished = run_in_process("data", "--output", tmp_path / "set", *flags.split())
    assert finished.returncode == 0
    assert "4 identities" in finished.stdout
    found = json.loads((tmp_path / "set" / MANIFEST).read_text())
    assert found["format"] == synthetic_reid.FORMAT
    assert found["settings"]["seed"] == 2
    assert found["settings"]["images_per_camera"] == 1
