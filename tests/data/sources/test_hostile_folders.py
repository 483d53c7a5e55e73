"""Folders with strange names, links and broken files: read, or one sentence."""

import logging
import os
import sys
import unicodedata

import numpy as np
import pytest
from helpers.reid_sets import load as load_reid
from helpers.reid_sets import rgbnt201
from PIL import Image

from tokenjax import data
from tokenjax.errors import DatasetError

__all__ = ["rgbnt201"]  # a fixture


def save(path, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value, value, value)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        for index in range(4):
            save(tmp_path / "set" / name / f"{index}.png", index)
    return tmp_path / "set"


def load(folder, **arguments):
    config = {"source": "image_folder", "directory": str(folder), "image_size": 4}
    everything = {"validation_fraction": 0.0, "test_fraction": 0.0}
    return data.load(config | everything | arguments)


def test_strange_names_of_files_are_names(folder):
    for name in (
        "a b.png",
        "-rf.png",
        "é.png",
        "e\u0301.png",
        "two\nlines.png",
        "%s.png",
    ):
        save(folder / "cat" / name)
    save(folder / "cat" / os.fsdecode(b"\xff\xfe.png"))
    assert load(folder).info.counts["train"].tolist() == [11, 4]


def test_what_systems_leave_behind_is_passed_over(folder, caplog):
    for name in (".DS_Store", "Thumbs.db", "._0.png"):
        (folder / "cat" / name).write_bytes(b"x")
    save(folder / "cat" / ".ipynb_checkpoints" / "0.png")
    save(folder / "__MACOSX" / "cat" / "0.png")
    assert load(folder).info.counts["train"].tolist() == [4, 4]
    assert not caplog.records
    (folder / "cat" / "0.txt").write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        load(folder)
    assert ".tiff or .gif and passed over: 1 .txt" in caplog.text


def test_class_names_are_composed_and_plain(folder):
    save(folder / "train" / unicodedata.normalize("NFD", "café") / "0.png")
    save(folder / "test" / unicodedata.normalize("NFC", "café") / "0.png")
    for name in ("cat", "dog"):
        (folder / name).rename(folder / "train" / name)
    dataset = load(folder)
    assert dataset.info.class_names == ("café", "cat", "dog")
    assert len(dataset.test) == 1
    save(folder / "train" / unicodedata.normalize("NFC", "café") / "1.png")
    with pytest.raises(DatasetError, match="two folders 'café'"):
        load(folder)


@pytest.mark.parametrize("name", [b"two\nlines", b"\xff", b"bell\x07"])
def test_class_names_that_no_report_can_show(folder, name):
    save(folder / os.fsdecode(name) / "0.png")
    with pytest.raises(DatasetError, match="not named in plain text: rename") as error:
        load(folder)
    assert str(error.value).isprintable()


def test_names_that_differ_in_case_are_two_classes_and_said(folder, caplog):
    save(folder / "Cat" / "0.png")
    assert load(folder).info.class_names == ("Cat", "cat", "dog")
    assert "differ in case alone, taken as 2: Cat; cat" in caplog.text


def test_classes_that_a_part_lacks_are_said(folder, caplog):
    root = folder.parent / "parts"
    root.mkdir()
    folder.rename(root / "train")
    save(root / "test" / "cat" / "0.png")
    load(root)
    assert "the test part has no image of 1 of 2 classes: dog" in caplog.text


def test_a_part_is_never_passed_over_unsaid(folder, caplog):
    root = folder.parent / "parts"
    root.mkdir()
    folder.rename(root / "train")
    save(root / "test" / "cat" / "0.png")
    save(root / "extra" / "cat" / "0.png")
    load(root)
    assert "beside the parts test, train, not read: extra" in caplog.text
    save(root / "val" / "cat" / "0.png")
    save(root / "validation" / "cat" / "0.png")
    with pytest.raises(DatasetError, match="has both val and validation"):
        load(root)


def test_links_within_the_folder_are_followed(folder):
    (folder / "cat" / "linked.png").symlink_to(folder / "dog" / "0.png")
    (folder / "owl").symlink_to("dog", target_is_directory=True)
    (folder / "cat" / "more").symlink_to(folder / "dog", target_is_directory=True)
    assert load(folder).info.counts["train"].tolist() == [9, 4, 4]
    around = folder.parent / "around"
    around.symlink_to(folder, target_is_directory=True)
    assert load(around).info.counts["train"].tolist() == [9, 4, 4]


def test_links_out_of_the_folder_are_refused_unless_allowed(folder):
    outside = save(folder.parent / "outside" / "0.png").parent
    links = [folder / "cat" / "out.png", folder / "owl", folder / "dog" / "deep"]
    links[0].symlink_to(outside / "0.png")
    for link in links[1:]:
        link.symlink_to(outside, target_is_directory=True)
    with pytest.raises(
        DatasetError, match=r"link out of .*outside_links=True"
    ) as error:
        load(folder)
    assert str(folder / "owl") in str(error.value)
    links[1].unlink()
    with pytest.raises(DatasetError, match="is a link out of") as error:
        load(folder)
    assert all(str(link) in str(error.value) for link in (links[0], links[2]))
    assert load(folder, outside_links=True).info.counts["train"].tolist() == [5, 5]


@pytest.mark.parametrize("target", ["cat", "self", "gone"])
def test_links_that_lead_nowhere_or_around(folder, target):
    link = folder / "cat" / "link"
    link.symlink_to({"cat": folder / "cat", "self": link, "gone": folder / "x"}[target])
    with pytest.raises(
        DatasetError, match=r"link is a link (to a folder around|that lea)"
    ):
        load(folder)
    link.rename(folder / "owl")  # as a class of its own
    if target != "cat":
        with pytest.raises(DatasetError, match="owl is a link that leads nowhere"):
            load(folder)


def test_a_tree_deeper_than_recursion_goes(folder):
    folders = [folder / "cat"]
    while len(str(folders[-1])) < 3900:
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    assert len(folders) > sys.getrecursionlimit()
    try:
        assert load(folder).info.counts["train"].tolist() == [4, 4]
    finally:  # pytest could not
        for deep in folders[:0:-1]:
            deep.rmdir()


def test_a_pipe_is_no_image(folder):
    os.mkfifo(folder / "cat" / "pipe.png")
    with pytest.raises(DatasetError, match=r"pipe\.png is no regular file"):
        load(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_listed(folder):
    (folder / "cat").chmod(0)
    try:
        with pytest.raises(DatasetError, match="cat cannot be listed: Permission"):
            load(folder)
    finally:
        (folder / "cat").chmod(0o700)


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
def test_broken_images_are_refused_or_left_out_and_counted(folder, caplog, cache_bytes):
    whole = (folder / "cat" / "1.png").read_bytes()
    (folder / "cat" / "1.png").write_bytes(whole[:-30])  # the header is whole
    (folder / "dog" / "2.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"(2|1) of 8 images cannot be read"):
        load(folder, cache_bytes=cache_bytes)
    dataset = load(folder, cache_bytes=cache_bytes, broken="skip")
    assert "2 of 8 images are broken and left out (broken='skip')" in caplog.text
    assert dataset.info.counts["train"].tolist() == [3, 3]
    batch = dataset.train.gather(np.arange(6))
    got = {
        *zip(batch["label"].tolist(), batch["image"][:, 0, 0, 0].tolist(), strict=True)
    }
    assert got == {(0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 3)}


def test_what_cannot_be_opened_is_never_left_out(folder, monkeypatch):
    """Or a resumed run would see other data than the one that was stopped."""
    from tokenjax.data.images import image_opening

    def fail(path, mode):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(image_opening, "open", fail, raising=False)
    with pytest.raises(DatasetError, match=r"8 of 8 .* opened: Input/output error"):
        load(folder, broken="skip")


def test_a_class_of_broken_images_alone(folder):
    for index in range(4):
        (folder / "cat" / f"{index}.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match="no readable image to train on in cat"):
        load(folder, broken="skip")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"broken": "ignore"}, "broken must be one of refuse, skip, got 'ignore'"),
        ({"image_size": 0}, "image_size must be at least 1 and at most 16384, got 0"),
        ({"image_size": 10**12}, "image_size must be at least 1 and at most 16384"),
        ({"max_pixels": 0}, "max_pixels must be at least 1, got 0"),
        ({"outside_links": 1}, "data.outside_links must be bool, got 1"),
        (
            {"validation_fraction": float("nan")},
            "validation_fraction must be finite",
        ),
        ({"split_seed": -1}, "split_seed must be at least 0, got -1"),
    ],
)
def test_settings_that_cannot_be(folder, arguments, message):
    with pytest.raises(DatasetError, match=message):
        load(folder, **arguments)


def test_re_identification_sets_hold_to_the_same(rgbnt201):
    outside = save(rgbnt201.parent / "elsewhere.png")
    link = rgbnt201 / "test" / "NI" / "000400_cam1_0_01.png"
    link.symlink_to(outside)
    with pytest.raises(DatasetError, match=f"{link} is a link out of"):
        load_reid("rgbnt201", rgbnt201)
    for name in ("RGB", "TI"):
        save(rgbnt201 / "test" / name / link.name)
    assert len(load_reid("rgbnt201", rgbnt201, outside_links=True).test) == 4
    link.unlink()
    os.mkfifo(link)
    with pytest.raises(DatasetError, match="is no regular file"):
        load_reid("rgbnt201", rgbnt201)
    link.unlink()
    save(link)
    with pytest.raises(DatasetError, match=r"more than the 9 that data\.max_pixels"):
        load_reid("rgbnt201", rgbnt201, max_pixels=9)
