"""Some classes of any source, and so many training images of each."""

import numpy as np
import pytest

from tokenjax import data
from tokenjax.errors import DatasetError


def digits(**arguments):
    return data.load({"source": "digits", "image_size": 8, **arguments})


def of_class(split, label):
    return split.gather(np.flatnonzero(split.labels == label))["image"]


def test_classes_come_in_the_order_they_are_named_in():
    whole, some = digits(), digits(classes=("7", "2", "5"))
    assert some.info.class_names == ("7", "2", "5")
    assert some.info.num_classes == 3
    assert some.info.mean == whole.info.mean
    for name in ("train", "validation", "test"):
        split, source = some.split(name), whole.split(name)
        assert sorted(set(split.labels)) == [0, 1, 2]
        for label, theirs in enumerate((7, 2, 5)):
            images = of_class(split, label)
            np.testing.assert_array_equal(images, of_class(source, theirs))
            assert some.info.counts[name][label] == len(images)
        batch = split.gather(np.arange(len(split)))
        np.testing.assert_array_equal(batch["label"], split.labels)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("7", "ten"), "data.classes: class of digits 'ten'"),
        (("7", "7"), "data.classes names a class twice"),
    ],
)
def test_classes_that_are_not_there_are_refused(classes, message):
    with pytest.raises(DatasetError, match=message):
        digits(classes=classes)


def test_so_many_training_images_of_each_class():
    whole, few, more = digits(), digits(train_per_class=4), digits(train_per_class=9)
    assert few.info.counts["train"].tolist() == [4] * 10
    np.testing.assert_array_equal(
        np.bincount(few.train.labels), few.info.counts["train"]
    )
    assert few.info.mean == whole.info.mean
    for name in ("validation", "test"):
        assert data.digest(few.split(name)) == data.digest(whole.split(name))
    for label in range(10):
        fewer = {image.tobytes() for image in of_class(few.train, label)}
        assert fewer <= {image.tobytes() for image in of_class(more.train, label)}
    other = digits(train_per_class=4, train_seed=1)
    assert data.digest(other.train) != data.digest(few.train)
    everything = digits(train_per_class=10**5)
    assert len(everything.train) == len(whole.train)


def test_so_many_test_images_of_each_class():
    whole, few = digits(), digits(test_per_class=4, train_seed=1)
    assert few.info.counts["test"].tolist() == [4] * 10
    assert np.bincount(few.test.labels).tolist() == [4] * 10
    for name in ("train", "validation"):
        assert data.digest(few.split(name)) == data.digest(whole.split(name))
    again = digits(test_per_class=4, train_seed=2)
    assert data.digest(few.test) == data.digest(again.test)
    assert len(digits(test_per_class=10**5).test) == len(whole.test)


def test_a_re_identification_set_has_identities(tmp_path):
    small = {"directory": str(tmp_path / "set"), "identities": 4}
    small |= {"height": 16, "width": 8, "classes": ("1",)}
    with pytest.raises(DatasetError, match="has identities, not classes"):
        data.load({"source": "synthetic_reid", **small})
