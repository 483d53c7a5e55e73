import pytest
from helpers.reid_sets import load, msvr310, rgbnt100, rgbnt201, save

from tokenjax.errors import DatasetError

__all__ = ["msvr310", "rgbnt100", "rgbnt201"]  # fixtures


def test_rgbnt100_refuses_files_too_small_for_three_images(rgbnt100):
    save(rgbnt100 / "query" / "0009_c3_00.jpg", (0, 0, 0), (767, 128))
    with pytest.raises(DatasetError, match=r"0009_c3_00\.jpg .*767x128 .*768x128"):
        load("rgbnt100", rgbnt100)


def test_many_missing_images_are_abridged(rgbnt201):
    for number in range(12):
        save(rgbnt201 / "test" / "NI" / f"000400_cam1_{number}_01.png", (0, 0, 0))
    with pytest.raises(DatasetError, match=r"24 images are not on .* and 14 more"):
        load("rgbnt201", rgbnt201)


def test_names_that_say_nothing_are_all_named(rgbnt201):
    names = ("258cam1_0.png", "000258_cam_0.png", "000258_cam0_0.png", "x.PNG")
    for name in names:
        save(rgbnt201 / "train_171" / "RGB" / name, (0, 0, 0))
    with pytest.raises(DatasetError, match="4 files are not named as") as error:
        load("rgbnt201", rgbnt201)
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize(
    "name", ["-2_c1_0.jpg", "0001_c0_0.jpg", "2147483648_c1_0.jpg", "1_c10001_0.jpg"]
)
def test_identities_and_cameras_have_bounds(rgbnt100, name):
    save(rgbnt100 / "query" / name, (0, 0, 0), (768, 128))
    with pytest.raises(DatasetError, match=f"camera 1 to 10000: .*{name}"):
        load("rgbnt100", rgbnt100)


def test_scenes_have_bounds(msvr310):
    name = f"0008_s{2**31}_v1_00.png"
    save(msvr310 / "query3" / "0008" / "vis" / name, (0, 0, 0))
    with pytest.raises(DatasetError, match=f"camera 0 to 10000: .*{name}"):
        load("msvr310", msvr310, missing="zeros")


@pytest.mark.parametrize(
    ("part", "identity"), [("bounding_box_train", 0), ("query", -1)]
)
def test_a_part_of_nobody_alone(rgbnt100, part, identity):
    for path in (rgbnt100 / part).iterdir():
        path.unlink()
    save(rgbnt100 / part / f"{identity}_c1_00.jpg", (0, 0, 0), (768, 128))
    with pytest.raises(DatasetError, match=f"all 1 images in {part} are junk or dist"):
        load("rgbnt100", rgbnt100)


def test_other_files_are_passed_over_and_extensions_may_differ(rgbnt201):
    folder = rgbnt201 / "train_171" / "RGB"
    (folder / "Thumbs.db").write_bytes(b"no image")
    (folder / "._000258_cam1_0_01.png").write_bytes(b"no image")
    (folder / "000258_cam1_0_01.png").rename(folder / "000258_cam1_0_01.PNG")
    assert len(load("rgbnt201", rgbnt201).train) == 5
    save(folder / "000258_cam1_0_01.jpg", (0, 0, 0))
    with pytest.raises(DatasetError, match=r"1 files differ .*000258_cam1_0_01"):
        load("rgbnt201", rgbnt201)


def test_damaged_files_are_all_named_at_once(rgbnt201):
    broken = [
        rgbnt201 / "train_171" / "RGB" / "000258_cam1_0_01.png",
        rgbnt201 / "train_171" / "NI" / "000258_cam1_0_01.png",
        rgbnt201 / "test" / "TI" / "000012_cam4_0_01.png",
    ]
    for path in broken:
        path.write_bytes(b"no image")
    for cache_bytes in (2**30, 0):
        with pytest.raises(DatasetError, match="3 of 24 images") as error:
            load("rgbnt201", rgbnt201, cache_bytes=cache_bytes)
        assert all(str(path) in str(error.value) for path in broken)


def test_folders_that_are_missing_or_empty(rgbnt201, msvr310, tmp_path):
    with pytest.raises(DatasetError, match="needs a directory"):
        load("rgbnt201", "")
    with pytest.raises(DatasetError, match="nowhere is not a directory"):
        load("rgbnt201", tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no folder bounding_box_train, query, "):
        load("rgbnt100", tmp_path)
    (tmp_path / "RGBNT201" / "test").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="RGBNT201 has no folder test"):
        load("rgbnt201", tmp_path)
    (rgbnt201 / "test").mkdir()
    with pytest.raises(DatasetError, match=r"no \.jpg, \.jpeg or \.png file in .*test"):
        load("rgbnt201", tmp_path)
    (msvr310 / "query3" / "0031" / "vis").mkdir(parents=True)
    (msvr310 / "bounding_box_test" / "0032").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"file in .*query3/0031; .*box_test/0032"):
        load("msvr310", msvr310)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"missing": "skip"}, "missing must be one of error, zeros, got 'skip'"),
        ({"height": 0}, "height must be at least 1 and at most 16384"),
        ({"num_threads": -1}, "num_threads must be at least 0"),
        ({"modalities": ("rgb", "rgb")}, "modalities are one or more of .* each once"),
        ({"modalities": ()}, "modalities are one or more of rgb, nir, tir"),
        ({"modalities": ("red",)}, "modalities must be"),
        ({"heigth": 4}, "did you mean 'height'"),
    ],
)
def test_arguments_that_cannot_be(rgbnt201, arguments, message):
    with pytest.raises(DatasetError, match=message):
        load("rgbnt201", rgbnt201, **arguments)
