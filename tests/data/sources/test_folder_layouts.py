"""Layouts of folders: the right classes and parts, or both readings in one sentence."""

import io
import os
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tokenjax import data
from tokenjax.data.dataset import make_dataset
from tokenjax.data.images.image_files import ImageTree
from tokenjax.data.partition import stratified_split
from tokenjax.data.sources.class_folders import find_parts
from tokenjax.data.sources.folder_layout import find_layout
from tokenjax.errors import DatasetError

PICTURES = {"cat": (10, 11, 12, 13), "dog": (20, 21, 22, 23)}  # by their grey


def draw(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2), (value, value, value)).save(path)


def draw_classes(folder, pictures=PICTURES):
    for name, values in pictures.items():
        for value in values:
            draw(folder / name / f"{value}.png", value)


def draw_tree(root, tree):
    """Write "folder/file.png ..." as images of grey 0, 1, ..., a name with / alone."""
    for value, name in enumerate(tree.split()):
        if name.endswith("/"):
            (root / name).mkdir(parents=True)
        else:
            draw(root / name, value)


def load(folder, **arguments):
    config = {"source": "image_folder", "directory": str(folder), "image_size": 2}
    return data.load(
        config | {"validation_fraction": 0.0, "test_fraction": 0.0} | arguments
    )


def content(split):
    """Return the grey and the label of every picture."""
    batch = split.gather(np.arange(len(split)))
    greys = batch["image"][:, 0, 0, 0].tolist()
    return sorted(zip(greys, batch["label"].tolist(), strict=True))


LABELLED = [(v, label) for label, name in enumerate(PICTURES) for v in PICTURES[name]]
WHOLE = [  # where the classes are, when training is all there is
    *(".", "images", "Images", "data/train", "train", "training", "Training Set"),
    *("raw_data/images", "train/images", "train_images", "seg_train/seg_train"),
    *("ILSVRC/Data/CLS-LOC/train", "train2017", "trainset", "TrainSet", "JPEGImages"),
    *("set", "set/set", "CUB_200_2011/images", "splits/train/data"),
]


@pytest.mark.parametrize("where", WHOLE)
def test_the_same_pictures_are_the_same_classes_wherever_they_lie(tmp_path, where):
    draw_classes(tmp_path / "set" / where)
    (tmp_path / "set" / "annotations").mkdir(exist_ok=where != ".")
    if where == ".":
        (tmp_path / "set" / "annotations").rmdir()
    dataset = load(tmp_path / "set")
    assert dataset.info.class_names == ("cat", "dog")
    assert content(dataset.train) == LABELLED


@pytest.mark.parametrize("around", ["", "images/", "set/", "photos_of_mine/"])
@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("training", "validation", "testing"),
        ("training_set", "dev_set", "test_set"),
        ("train", "Validation Images", "test_data"),
        ("images_train", "images_val", "images_test"),
        ("seg_train/seg_train", "seg_dev/seg_dev", "seg_test/seg_test"),
        ("train/images", "eval/images", "test/images"),
        ("kaggle_train", "kaggle_valid", "kaggle_test"),
        ("train_171", "evaluation", "test2017"),
    ],
)
def test_parts_under_many_names(tmp_path, around, train, validation, test):
    root = tmp_path / "set"
    draw_classes(root / around / train)
    draw_classes(root / around / validation, {"dog": (120, 121)})
    draw_classes(root / around / test, {"cat": (210,), "dog": (220,)})
    dataset = load(root, test_fraction=0.5, validation_fraction=0.5)
    assert dataset.info.class_names == ("cat", "dog")
    assert content(dataset.train) == LABELLED
    assert content(dataset.validation) == [(120, 1), (121, 1)]
    assert content(dataset.test) == [(210, 0), (220, 1)]


@pytest.mark.parametrize(
    ("tree", "classes", "train", "validation", "test"),
    [
        # classes, whatever their names
        ("train/0.png train/1.png bus/0.png", "bus train", 3, 0, 0),
        ("cat/0.png dog/0.png test/0.png", "cat dog test", 3, 0, 0),
        ("cat/0.png dog/0.png test/deep/0.png", "cat dog test", 3, 0, 0),
        ("bullet_train/a/0.png bus/0.png", "bullet_train bus", 2, 0, 0),
        ("bullet_train/0.png test_tube/0.png cat/0.png",
         "bullet_train cat test_tube", 3, 0, 0),
        ("dog/0.png dog/puppy/1.png cat/0.png", "cat dog", 3, 0, 0),
        ("dog/a/0.png dog/b/1.png cat/0.png", "cat dog", 3, 0, 0),
        ("dog/images/0.png cat/images/0.png", "cat dog", 2, 0, 0),
        ("dog/0.png", "dog", 1, 0, 0),
        ("class_1/a/0.png class_2/a/0.png", "class_1 class_2", 2, 0, 0),
        ("n01440764/0.png n01443537/0.png", "n01440764 n01443537", 2, 0, 0),
        ("CUB/images/001.Auk/0.png CUB/images/002.Owl/0.png CUB/parts/", "001.Auk "
         "002.Owl", 2, 0, 0),
        # parts
        ("train/dog/0.png val/dog/0.png", "dog", 1, 1, 0),
        ("train/n01/images/0.png train/n02/images/1.png val/images/2.png "
         "test/images/3.png", "n01 n02", 2, 0, 0),
        ("train/a/0.png train/b/1.png test/0.png test/1.png", "a b", 2, 0, 0),
        ("seg_train/seg_train/a/0.png seg_train/seg_train/b/0.png seg_pred/seg_pred/"
         "0.png seg_test/seg_test/a/0.png", "a b", 2, 0, 1),
        ("train/a/0.png train/b/1.png train/2.png", "a b", 2, 0, 0),
        ("train/a/0.png train/b/1.png train/2.png test/0.png", "a b", 2, 0, 0),
        ("train/0.png train/steam/1.png bus/0.png", "bus train", 3, 0, 0),
        ("train/a/0.png test/a/0.png masks/a/0.png", "a", 1, 0, 1),
        ("train/a/0.png train/b/0.png predict/0.png", "a b", 2, 0, 0),
        ("train/a/0.png train/b/0.png labels/ notes/", "a b", 2, 0, 0),
        ("train/a/b/0.png train/c/d/0.png test/a/0.png", "a c", 2, 0, 1),
    ],
)  # fmt: skip
def test_what_trees_are(tmp_path, tree, classes, train, validation, test):
    draw_tree(tmp_path / "set", tree)
    dataset = load(tmp_path / "set")
    assert dataset.info.class_names == tuple(classes.split())
    splits = (dataset.train, dataset.validation, dataset.test)
    assert tuple(map(len, splits)) == (train, validation, test)


CLASSES, PARTS = "data.layout=classes takes", "data.layout=parts the second"


@pytest.mark.parametrize(
    ("tree", "first", "second", "remedies"),
    [
        ("train/0.png test/1.png", "the classes test, train",
         "parts without classes", [CLASSES]),
        ("train/0.png", "the class train alone", "images without classes", [CLASSES]),
        ("images/0.png", "the class images alone", "images without", [CLASSES]),
        ("train/a/0.png train/b/0.png bus/0.png", "the classes bus, train",
         "train of the classes a, b, bus not read", [CLASSES, PARTS]),
        ("train/a/0.png train/b/0.png extra/a/0.png", "the classes extra, train",
         "train of the classes a, b, extra not read", [CLASSES, PARTS]),
        ("cat/0.png dog/0.png test/cat/0.png test/dog/0.png",
         "the classes cat, dog, test", "test of the classes cat, dog, cat, dog not",
         [CLASSES, PARTS]),
        ("fold1/a/0.png fold1/b/0.png fold2/a/0.png fold2/b/0.png",
         "the classes fold1, fold2", "parts of a set with the classes a, b",
         [CLASSES, "call the parts train, val and test"]),
        ("dog/puppy/0.png dog/old/0.png", "the class dog", "the classes old, puppy in",
         [CLASSES, "data.directory="]),
        ("images/a/0.png images/b/0.png samples/0.png", "the classes images, samples",
         "the classes a, b in images", [CLASSES, "data.directory="]),
        ("seg_train/a/0.png seg_test/b/0.png", "the classes seg_test, seg_train",
         "seg_train, seg_test of the classes a, b", [CLASSES, PARTS]),
        ("images/train/0.png images/val/0.png", "the classes train, val",
         "parts without classes", ["/images data.layout=classes takes the first"]),
        ("val/a/0.png test/b/0.png", "the classes test, val", "val, test of the",
         [CLASSES, PARTS]),
        ("cat/male/0.png cat/female/0.png dog/male/0.png dog/female/0.png",
         "the classes cat, dog", "parts of a set with the classes female, male",
         [CLASSES]),
        ("trainA/0.png trainB/0.png testA/0.png testB/0.png",
         "the classes testA, testB, trainA, trainB", "parts without classes",
         [CLASSES]),
        ("val/a/0.png val/b/0.png train/1.png train/2.png", "the classes train, val",
         "val of the classes a, b", [CLASSES]),
    ],
)  # fmt: skip
def test_what_could_be_two_things_is_refused_with_both(
    tmp_path, tree, first, second, remedies
):
    draw_tree(tmp_path / "set", tree)
    with pytest.raises(DatasetError, match="can be read in two ways, as ") as error:
        load(tmp_path / "set")
    sentence = str(error.value)
    assert f"in two ways, as {first}, or as {second}" in sentence
    assert all(remedy in sentence for remedy in remedies)


def test_the_setting_decides(tmp_path):
    draw_tree(tmp_path, "train/a/0.png train/b/1.png bus/c/2.png bus/d/3.png")
    assert load(tmp_path, layout="classes").info.class_names == ("bus", "train")
    assert load(tmp_path, layout="parts").info.class_names == ("a", "b")
    with pytest.raises(DatasetError, match="no folder called train, val or test"):
        load(tmp_path / "bus", layout="parts")
    with pytest.raises(DatasetError, match="layout must be one of auto, classes, pa"):
        load(tmp_path, layout="flat")


@pytest.mark.parametrize("seed", range(40))
def test_never_other_classes_whatever_they_are_called(tmp_path, seed):
    """Where names of classes and parts are mixed up, a refusal will do, no guess."""
    choose = random.Random(seed)
    plain = [
        "cat",
        "dog",
        "001.Black_footed",
        "n01440764",
        "\u00e9t\u00e9",
        "\u732b",
        "a b",
    ]
    odd = ["train", "test", "val", "images", "seg_test", "bullet_train", "data", "dev"]
    given = choose.sample(plain, 3) + choose.sample(odd, seed % 3)
    pictures = {name: range(10 * i, 10 * i + 3) for i, name in enumerate(sorted(given))}
    for part in choose.choice(
        [[""], ["train"], ["train", "dev"], ["training", "test"]]
    ):
        around = choose.choice(["", "images/", "set/"])
        for name, values in pictures.items():
            deep = choose.choice(["", "", "deep/", f"{name}/"])
            for value in values:
                draw(
                    tmp_path / "set" / part / around / name / f"{deep}{value}.png",
                    value,
                )
    try:
        dataset = load(tmp_path / "set")
    except DatasetError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert seed % 3, refusal
        assert "two ways" in refusal or "unknown class folder" in refusal
        return
    assert dataset.info.class_names == tuple(pictures)
    labelled = [(v, i) for i, name in enumerate(pictures) for v in pictures[name]]
    assert content(dataset.train) == labelled


def test_files_and_labels_are_in_the_order_of_their_paths(tmp_path):
    draw_tree(tmp_path, "b/2.png b/10.png b/a/0.png a/z.png c/1.png c/0.png c/B.png")
    tree = ImageTree(tmp_path)
    layout = find_layout(tree, "auto")
    names, parts = find_parts(tree, layout, (0.4, 0.3), 5)
    paths = ["a/z", "b/10", "b/2", "b/a/0", "c/0", "c/1", "c/B"]
    labels = [names.index(path[0]) for path in paths]
    pieces = stratified_split(np.array(labels), (0.4, 0.3), 5)
    for part, indices in zip(("train", "validation", "test"), pieces, strict=True):
        due = [(tmp_path / f"{paths[i]}.png", labels[i]) for i in indices]
        assert parts[part] == due
        assert due


def test_the_reading_is_one_line(tmp_path, capsys):
    draw_classes(tmp_path / "photos")
    load(tmp_path / "photos", validation_fraction=0.25)
    assert capsys.readouterr().err == (
        "image_folder photos: 2 classes (cat, dog) from its folders; validation: none, "
        "held out 25 % of all; test: none\n"
    )
    draw_classes(tmp_path / "parts/data/train")
    draw_classes(tmp_path / "parts/data/val", {"cat": (1,)})
    load(tmp_path / "parts", test_fraction=0.25)
    assert capsys.readouterr().err == (
        "image_folder parts: 2 classes (cat, dog); train from data/train/; validation "
        "from data/val/; test: none, held out 25 % of train\n"
    )
    draw_tree(tmp_path / "many", " ".join(f"{i:02}/0.png" for i in range(12)))
    load(tmp_path / "many")
    assert ": 12 classes (00, 01, 02, 03, 04, 05, 06, 07, 08, 09, ...) from" in (
        capsys.readouterr().err
    )


def test_what_is_not_read_is_said(tmp_path, capsys, caplog):
    draw_classes(tmp_path / "data" / "train" / "images")
    draw_tree(
        tmp_path,
        "data/train/images/loose.png data/test/0.png data/predict/0.png notes/ "
        "data/train/labels/",
    )
    assert len(load(tmp_path, test_fraction=0.25).test) == 2
    assert (
        "test: data/test/ has no classes and is not read, held out 25 % of train"
        in capsys.readouterr().err
    )
    for sentence in (
        "beside the parts train, not read: data/train/labels; notes",
        "without classes, not read: data/predict/",
        f"have no class, not read: {tmp_path / 'data' / 'train' / 'images'}",
    ):
        assert sentence in caplog.text


@pytest.mark.parametrize("parts", [("test",), ("val",), ("val", "test")])
def test_parts_to_evaluate_alone(tmp_path, parts):
    draw_tree(tmp_path, " ".join(f"{part}/a/0.png {part}/b/1.png" for part in parts))
    draw(tmp_path / parts[-1] / "c" / "2.png")  # a class that not every part has
    tree = ImageTree(tmp_path)
    names, files = find_parts(tree, find_layout(tree, "auto"), (0.5, 0.5), 0)
    assert names == ["a", "b", "c"]
    known = {"val": "validation"}
    due = {known.get(part, part): 2 for part in parts}
    due[known.get(parts[-1], parts[-1])] = 3
    assert {part: len(found) for part, found in files.items() if found} == due
    with pytest.raises(DatasetError, match=r"needs data\.mean and data\.std"):
        load(tmp_path)


def test_a_set_without_training_examples_has_the_statistics_given():
    empty = data.ArraySplit(np.zeros((0, 2, 2, 3), np.uint8), np.zeros(0, np.int32))
    test = data.ArraySplit(np.zeros((1, 2, 2, 3), np.uint8), np.ones(1, np.int32))
    given = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    dataset = make_dataset("x", ("a", "b"), empty, empty, test, given)
    assert (dataset.info.mean, dataset.info.std) == given
    assert dataset.info.counts["train"].tolist() == [0, 0]
    assert dataset.info.counts["test"].tolist() == [0, 1]
    with pytest.raises(DatasetError, match="no example is left for training"):
        make_dataset("x", ("a", "b"), empty, empty, test)


PROGRAM = """
import sys
from tokenjax import data
from tokenjax.errors import UserError
try:
    config = {"source": "image_folder", "directory": sys.argv[1], "image_size": 2}
    print(data.load(config).info.class_names)
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("directory", "names", "due"),
    [
        ("plain", ("cat", "dog"), b"('cat', 'dog')"),
        (
            "plain",
            ("caf\u00e9", "dog"),
            b"caf\\udcc3\\udca9' is not named in plain text",
        ),
        (
            "\u00e9t\u00e9",
            ("cat", "dog"),
            b"is not named in plain text for this process",
        ),
    ],
)
def test_names_in_a_process_that_knows_ascii_alone(tmp_path, directory, names, due):
    for name in names:
        draw(tmp_path / directory / name / "\u00e9.png")
    package = pathlib.Path(data.__file__).parents[2]
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONPATH": str(package)}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, directory],
        cwd=tmp_path,
        env=os.environ | ascii_alone,
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert due in finished.stdout
    assert (b"set PYTHONUTF8=1" in finished.stdout) is (b"plain text" in due)


def test_the_line_is_printed_where_the_terminal_lacks_a_letter(tmp_path, monkeypatch):
    draw_classes(tmp_path, {"caf\u00e9": (1,), "dog": (2,)})
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", output)
    load(tmp_path)
    output.flush()
    assert b"2 classes (caf\\xe9, dog)" in output.buffer.getvalue()
