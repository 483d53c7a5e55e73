"""`tokenjax predict RUN PATH...`: what it prints, writes and refuses."""

import csv
import json
import shutil

import numpy as np
import pytest
from helpers.entry_points import run_in_process
from helpers.loadable import CLASSES, IMAGES, save_pictures, save_weights
from helpers.reid_sets import MODALITIES
from helpers.small_models import small, small_demo
from PIL import Image

import tokenjax
from tokenjax.card import Images
from tokenjax.prediction import command


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    directory = tmp_path_factory.mktemp("weights") / "vit"
    return save_weights(directory, "vit", small("vit"), classes=CLASSES)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    save_pictures(folder, ("cat", "dog"))
    return folder


def predict(*arguments):
    return run_in_process("predict", *arguments)


def table(finished):
    """The cells of each line below the rule."""
    lines = finished.stdout.splitlines()
    rule = next(row for row, line in enumerate(lines) if line.startswith("---"))
    body = lines[rule + 1 :]
    count = next(row for row, line in enumerate(body) if " picture" in line)
    return [line.split() for line in body[:count]], body[count]


def assert_refused(finished, *parts):
    assert finished.returncode == 2, finished.stdout
    (line,) = [each for each in finished.stderr.splitlines() if "error: " in each]
    for part in parts:
        assert part in line


def test_a_table(weights, photos):
    finished = predict(weights, photos)
    assert finished.returncode == 0, finished.stderr
    lines, count = table(finished)
    assert count == "8 pictures"
    paths = sorted(photos.rglob("*.*"))
    ends = [line[0].rpartition("/photos/")[2] for line in lines]
    assert ends == [path.relative_to(photos).as_posix() for path in paths]
    found = tokenjax.load(weights, batch_size=8).predict(paths)
    assert [line[1] for line in lines] == found.best
    shares = [f"{100 * row.max():.2f}" for row in found.probabilities]
    assert [line[2] for line in lines] == shares


def test_flags_before_and_behind(weights, photos):
    behind = predict(weights, photos, "--topk", 3)
    before = predict("--topk=3", weights, photos)
    assert behind.stdout == before.stdout
    assert [len(line) for line in table(behind)[0]] == [7] * 8


def test_files_folders_and_patterns(weights, photos):
    """Each picture once, in the order of what is named; a name's end matters in
    folders alone."""
    renamed = photos.parent / "no_ending"
    shutil.copy(photos / "dog" / "0.png", renamed)
    finished = predict(
        weights, renamed, f"{photos}/**/1.*", photos / "cat", photos / "cat" / "0.jpg"
    )
    assert finished.returncode == 0, finished.stderr
    lines, _ = table(finished)
    ends = [line[0].rpartition("/photos/")[2] for line in lines]
    cats = [
        path.relative_to(photos).as_posix() for path in sorted(photos.glob("cat/*"))
    ]
    first = [path.relative_to(photos).as_posix() for path in photos.glob("*/1.*")]
    rest = [path for path in cats if path not in first]
    assert ends[1:] == [*sorted(first), *rest]


@pytest.mark.parametrize("topk", [1, 3])
def test_a_csv(weights, photos, tmp_path, topk):
    file = tmp_path / "out.csv"
    assert predict(weights, photos, "--topk", topk, "--output", file).returncode == 0
    with open(file, newline="") as opened:
        rows = list(csv.DictReader(opened))
    found = tokenjax.load(weights, batch_size=8).predict(sorted(photos.rglob("*.*")))
    assert [row["file"] for row in rows] == list(found.names)
    for row, shares, best in zip(rows, found.probabilities, found.top(3), strict=True):
        own = [float(row[f"p({name})"]) for name in CLASSES]
        np.testing.assert_allclose(own, shares, rtol=1e-5)
        assert (row["class"], float(row["probability"])) == (
            best[0].name,
            pytest.approx(best[0].probability, rel=1e-5),
        )
        assert ("class_3" in row) == (topk == 3)
        if topk == 3:
            assert [row["class_2"], row["class_3"]] == [best[1].name, best[2].name]


def test_a_json_and_what_could_not_be_read(weights, photos, tmp_path):
    (photos / "cat" / "broken.png").write_bytes(b"\x89PNG no more")
    (photos / "notes.txt").write_text("about cats")
    file = tmp_path / "out.json"
    finished = predict(weights, photos, "--output", file)
    assert finished.returncode == 0, finished.stderr
    assert "broken.png is not a readable image" in finished.stderr
    assert "1 file is no picture by name and passed over: 1 .txt" in finished.stderr
    assert table(finished)[1] == "8 pictures, 1 not read"
    document = json.loads(file.read_text())
    assert document["run"] == str(weights)
    assert document["classes"] == list(CLASSES)
    (unread,) = document["unread"]
    assert unread["file"].endswith("broken.png")
    assert "not a readable image" in unread["reason"]
    assert len(document["images"]) == 8
    for image in document["images"]:
        shares = image["probabilities"]
        assert sum(shares) == pytest.approx(1, abs=1e-6)
        assert image["probability"] == max(shares)
        assert image["class"] == CLASSES[int(np.argmax(shares))]


def test_an_npz_and_vectors(weights, photos, tmp_path):
    files = tmp_path / "out.npz", tmp_path / "vectors.npz"
    finished = predict(weights, photos, "--output", files[0], "--embed", files[1])
    assert finished.returncode == 0, finished.stderr
    predictor = tokenjax.load(weights, batch_size=8)
    paths = sorted(photos.rglob("*.*"))
    with np.load(files[0]) as scores, np.load(files[1]) as vectors:
        np.testing.assert_array_equal(scores["logits"], predictor.predict(paths).logits)
        np.testing.assert_array_equal(vectors["vectors"], predictor.embed(paths))
        assert scores["names"].tolist() == [str(path) for path in paths]
        assert vectors["names"].tolist() == scores["names"].tolist()


def test_a_contact_sheet(weights, photos, tmp_path):
    file = tmp_path / "sheet.png"
    finished = predict(weights, photos, "--figure", file, "--batch_size", 3)
    assert finished.returncode == 0, finished.stderr
    assert f"{file}: 8 pictures, and what was looked at" in finished.stdout
    with Image.open(file) as image:
        assert min(image.size) > 250


def test_a_contact_sheet_is_of_the_first(weights, photos, tmp_path, monkeypatch):
    assert command.MOST_DRAWN == 64
    monkeypatch.setattr(command, "MOST_DRAWN", 5)
    file = tmp_path / "sheet.png"
    finished = predict(weights, photos, "--figure", file)
    assert f"{file}: the first 5 of 8, and what was looked at" in finished.stdout


def test_nothing_to_predict(weights, photos):
    empty = photos.parent / "empty"
    empty.mkdir()
    assert_refused(predict(weights, empty), "no picture in", str(empty))
    (empty / "x.heic").write_bytes(b"")
    assert_refused(predict(weights, empty), "1 .heic")
    assert_refused(predict(weights, photos / "cow"), "no file or folder", "cow")
    assert_refused(predict(weights, f"{photos}/*.gif"), "nothing fits the pattern")
    (empty / "x.png").write_bytes(b"")
    (empty / "y.png").write_bytes(b"y")
    finished = predict(weights, empty)
    assert_refused(finished, "none of the 2 files could be read as a picture")
    assert finished.stderr.count("passed over") == 3


def test_what_is_asked_for(weights, photos, tmp_path):
    for arguments, part in (
        ([], "takes a run's directory, then pictures"),
        ([weights], "takes a run's directory, then pictures"),
        ([tmp_path / "gone", photos], "there is no directory"),
        ([photos, photos], "holds no run and no converted checkpoint"),
        ([weights, photos, "--output", "out.xlsx"], "must end in .csv or .json"),
        ([weights, photos, "--output", "gone/out.csv"], "directory does not exist"),
        ([weights, photos, "--figure", "out.jpg"], "must end in .png"),
        ([weights, photos, "--embed", "out.csv"], "must end in .npz"),
        ([weights, photos, "--topk", "0"], "topk"),
        ([weights, photos, "--which", "newest"], "best|last"),
        ([weights, photos, "--mean", "grey", "--std", "1"], "--mean takes numbers"),
        ([weights, photos, "--tokp", "1"], "did you mean --topk?"),
    ):
        assert_refused(predict(*arguments), part)


def test_statistics_from_the_command_line(photos, tmp_path):
    module = small("vit")
    bare = save_weights(tmp_path / "bare", "vit", module, images=Images())
    assert_refused(predict(bare, photos), "--mean and --std")
    told = save_weights(tmp_path / "told", "vit", module)
    mean, std = (",".join(map(str, getattr(IMAGES, key))) for key in ("mean", "std"))
    given = predict(bare, photos, "--mean", mean, "--std", std)
    assert given.returncode == 0, given.stderr
    assert given.stdout == predict(told, photos).stdout
    assert "names no classes: they are told by number" in given.stderr


def test_a_network_for_retrieval(photos, tmp_path):
    images = Images(mean=(0.5,) * 3, std=(0.5,) * 3, modalities=MODALITIES)
    demo = save_weights(tmp_path / "demo", "demo", small_demo(), images=images)
    assert_refused(predict(demo, photos), "scores no classes", ".embed(")


def test_names_that_are_no_plain_text(weights, photos, tmp_path):
    """They are shown escaped, and written as they are."""
    odd = photos / "a\nb$x^y$.png"
    (photos / "dog" / "0.png").rename(odd)
    files = [tmp_path / name for name in ("out.csv", "out.json", "sheet.png")]
    flags = ["--output", files[0], "--figure", files[2]]
    finished = predict(weights, odd, *flags)
    assert finished.returncode == 0, finished.stderr
    assert "a\\nb" in finished.stdout
    with open(files[0], newline="") as opened:
        (row,) = csv.DictReader(opened)
    assert row["file"] == str(odd)
    assert predict(weights, odd, "--output", files[1]).returncode == 0
    assert json.loads(files[1].read_text())["images"][0]["file"] == str(odd)
