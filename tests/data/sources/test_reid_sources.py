import numpy as np
import pytest
from helpers.reid_sets import (
    MODALITIES,
    TRAINING,
    colour,
    everything,
    load,
    msvr310,
    rgbnt100,
    rgbnt201,
    who,
)
from PIL import Image

from tokenjax import data
from tokenjax.data.images.image_sizes import read_resized
from tokenjax.data.reid_dataset import ImagesOnDemand, StoredImages
from tokenjax.errors import DatasetError

__all__ = ["msvr310", "rgbnt100", "rgbnt201"]  # fixtures


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
@pytest.mark.parametrize("above", [False, True])
def test_rgbnt201(rgbnt201, cache_bytes, above):
    directory = rgbnt201.parent if above else rgbnt201
    dataset = load("rgbnt201", directory, cache_bytes=cache_bytes)
    kind = StoredImages if cache_bytes else ImagesOnDemand
    assert type(dataset.train.images) is kind
    train = everything(dataset.train)
    assert train["label"].dtype == train["camera"].dtype == np.int32
    assert train["label"].tolist() == [0, 0, 1, 2, 2]  # 7, 99, 258
    assert train["camera"].tolist() == [0, 3, 2, 0, 1]
    assert train["scene"].tolist() == [0] * 5
    assert train["present"].all()
    assert train["present"].shape == (5, 3)
    assert train.keys() == {*MODALITIES, "label", "camera", "scene", "present"}
    raw = [7, 7, 99, 258, 258]
    cameras = [1, 4, 3, 1, 2]
    for number, name in enumerate(MODALITIES):
        assert train[name].shape == (5, 4, 3, 3)
        assert train[name].dtype == np.uint8
        expected = [colour(*pair, number) for pair in zip(raw, cameras, strict=True)]
        assert (train[name] == np.array(expected)[:, None, None]).all()

    test = everything(dataset.test)
    assert dataset.validation is dataset.test
    assert test["label"].tolist() == [12, 300, 300]
    assert test["query"].tolist() == test["gallery"].tolist() == [True] * 3
    assert test["query"].dtype == bool

    info = dataset.info
    assert isinstance(info, data.ReidInfo)
    assert (info.modalities, info.num_cameras, info.same) == (MODALITIES, 4, "camera")
    assert (info.num_classes, info.image_shape) == (3, (4, 3, 3))
    assert info.class_names == ("7", "99", "258")
    assert info.mean == info.std == (0.5, 0.5, 0.5)
    assert info.counts["train"].tolist() == [2, 1, 2]
    assert info.counts["test"].tolist() == [1, 2]


def test_rgbnt201_has_the_size_of_the_original(rgbnt201):
    dataset = data.load({"source": "rgbnt201", "directory": str(rgbnt201)})
    assert dataset.train.image_shape == (256, 128, 3)


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
def test_rgbnt100(rgbnt100, cache_bytes):
    for directory in (rgbnt100, rgbnt100.parent, rgbnt100.parents[1]):
        dataset = load("rgbnt100", directory, cache_bytes=cache_bytes)
    assert (dataset.info.num_cameras, dataset.info.same) == (8, "camera")
    train, test = everything(dataset.train), everything(dataset.test)
    assert train["label"].tolist() == [0, 0, 1]
    assert train["camera"].tolist() == [0, 1, 7]
    assert test["label"].tolist() == [9, 9, 9, 40]  # the query, then the gallery
    assert test["camera"].tolist() == [0, 0, 1, 7]
    assert test["query"].tolist() == [True, False, False, False]
    assert test["gallery"].tolist() == [False, True, True, True]
    for number, name in enumerate(MODALITIES):
        expected = [colour(9, 1, number), colour(40, 8, number)]
        shown = test[name][[0, 3]].astype(int)
        assert np.abs(shown - np.array(expected)[:, None, None]).max() <= 3


def test_msvr310(msvr310):
    dataset = load("msvr310", msvr310)
    assert (dataset.info.num_cameras, dataset.info.same) == (8, "scene")
    train, test = everything(dataset.train), everything(dataset.test)
    assert train["label"].tolist() == [0, 1, 1]
    assert train["camera"].tolist() == [3, 0, 7]
    assert train["scene"].tolist() == [1, 2, 4]
    assert test["label"].tolist() == [8, 8, 8]
    assert test["scene"].tolist() == [1, 1, 140]
    assert test["query"].tolist() == [True, False, False]
    assert test["gallery"].tolist() == [False, True, True]
    assert (test["tir"][0] == colour(8, 5, 2)).all()


def test_splits_go_through_batches_subsets_and_the_sampler(rgbnt201):
    dataset = load("rgbnt201", rgbnt201)
    batches = list(data.evaluation_batches(dataset.test, 2))
    assert [batch["mask"].tolist() for batch in batches] == [[True] * 2, [True, False]]
    assert batches[1]["present"].shape == (2, 3)
    subset = data.Subset(dataset.test, np.array([2, 0]))
    assert everything(subset)["label"].tolist() == [300, 12]
    batch = next(data.identity_batches(dataset.train, 0, 4, 2, 0, 1))
    assert (batch["label"].reshape(2, 2) == batch["label"][::2, None]).all()
    reds = {0: 7, 1: 99, 2: 8}
    assert [red for red, _ in who(batch)] == [reds[each] for each in batch["label"]]


def test_identities_held_out_for_validation(rgbnt201):
    seen = set()
    for seed in range(6):
        dataset = load("rgbnt201", rgbnt201, validation_identities=1, split_seed=seed)
        train, held = everything(dataset.train), everything(dataset.validation)
        (identity,) = set(held["label"].tolist())
        seen.add(identity)
        rest = [raw for raw in (7, 99, 258) if raw != identity]
        assert dataset.info.class_names == tuple(map(str, rest))
        assert sorted(set(train["label"].tolist())) == [0, 1]
        assert len(train["label"]) + len(held["label"]) == len(TRAINING)
        assert {red for red, _ in who(held)} == {identity % 250}
        assert held["query"].all()
        assert held["gallery"].all()
        assert dataset.test is not dataset.validation
    assert len(seen) > 1
    again = load("rgbnt201", rgbnt201, validation_identities=1, split_seed=seed)
    assert set(again.validation.labels) == {identity}
    with pytest.raises(DatasetError, match="fewer than the 3 training identities"):
        load("rgbnt201", rgbnt201, validation_identities=3)
    with pytest.raises(DatasetError, match="validation_identities must be at least 0"):
        load("rgbnt201", rgbnt201, validation_identities=-1)


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
@pytest.mark.parametrize("name", ["rgbnt201", "rgbnt100", "msvr310"])
def test_some_modalities(name, cache_bytes, request):
    root, chosen = request.getfixturevalue(name), ("tir", "rgb")
    whole = load(name, root, cache_bytes=cache_bytes)
    some = load(name, root, cache_bytes=cache_bytes, modalities=chosen)
    assert some.info.modalities == chosen
    rows = np.arange(len(whole.train))
    batch, part = whole.train.gather(rows), some.train.gather(rows)
    assert "nir" not in part
    assert part["present"].shape == (len(rows), 2)
    for modality in chosen:
        np.testing.assert_array_equal(part[modality], batch[modality])


@pytest.mark.parametrize("cache_bytes", [2**30, 0])
def test_a_missing_modality_is_an_error_or_zeros(rgbnt201, cache_bytes):
    (rgbnt201 / "train_171" / "NI" / "000258_cam1_0_01.png").unlink()
    (rgbnt201 / "train_171" / "RGB" / "000099_cam3_0_01.png").unlink()
    for path in (rgbnt201 / "test" / "TI").iterdir():
        path.unlink()
    (rgbnt201 / "test" / "TI").rmdir()
    with pytest.raises(DatasetError, match="5 images are not on disk") as error:
        load("rgbnt201", rgbnt201)
    for name in ("NI/000258_cam1_0_01.png", "RGB/000099_cam3_0_01.png"):
        assert name in str(error.value)

    dataset = load("rgbnt201", rgbnt201, missing="zeros", cache_bytes=cache_bytes)
    train, test = everything(dataset.train), everything(dataset.test)
    assert train["label"].tolist() == [0, 0, 1, 2, 2]
    expected = np.ones((5, 3), bool)
    expected[2, 0] = expected[3, 1] = False
    assert np.array_equal(train["present"], expected)
    assert test["present"].tolist() == [[True, True, False]] * 3
    for number, name in enumerate(MODALITIES):
        shown = train[name].any(axis=(1, 2, 3))
        assert np.array_equal(shown, train["present"][:, number])
    assert (train["tir"][3] == colour(258, 1, 2)).all()


def test_training_is_resized_bicubically_and_evaluation_bilinearly(rgbnt201):
    noise = np.random.default_rng(0).integers(0, 256, (12, 6, 3), np.uint8)
    image = Image.fromarray(noise)
    for path in rgbnt201.glob("*/*/*.png"):
        image.save(path)
    dataset = load("rgbnt201", rgbnt201, validation_identities=1)
    splits = (dataset.train, dataset.validation, dataset.test)
    methods = ("BICUBIC", "BILINEAR", "BILINEAR")
    for split, method in zip(splits, methods, strict=True):
        expected = np.asarray(image.resize((3, 4), Image.Resampling[method]))
        assert (everything(split)["nir"] == expected).all()


def test_a_file_is_read_to_both_sides(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert np.array_equal(read_resized(tmp_path / "x.png", 5, 8), pixels[None])
    boxes = [(0, 0, 4, 5), (4, 0, 8, 5)]
    halves = read_resized(tmp_path / "x.png", 5, 4, boxes=boxes)
    assert np.array_equal(halves, np.stack([pixels[:, :4], pixels[:, 4:]]))


def test_synthetic_people_are_made_once_and_read(tmp_path):
    pytest.importorskip("tokenjax.data.people.synthetic_reid")
    config = {
        "source": "synthetic_reid",
        "directory": str(tmp_path / "made"),
        "identities": 4,
        "height": 16,
        "width": 8,
    }
    dataset = data.load(config)
    assert dataset.info.name == "synthetic_reid"
    assert dataset.info.num_classes == 2
    assert dataset.train.image_shape == (16, 8, 3)
    assert set(dataset.test.labels).isdisjoint(map(int, dataset.info.class_names))
    again = everything(data.load(config).train)
    assert np.array_equal(again["rgb"], everything(dataset.train)["rgb"])
    with pytest.raises(DatasetError, match="needs a directory"):
        data.load(config | {"directory": ""})
