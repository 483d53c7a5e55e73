"""Weights are held to their card: every argument, every class, every image setting."""

import dataclasses

import jax
import numpy as np
import pytest
from helpers.other_values import list_other_values
from helpers.small_models import NAMES, SMALL, small, some_long

from tokenjax import card as cards
from tokenjax import data, models, provenance
from tokenjax.arguments import REQUIRED
from tokenjax.card import Card
from tokenjax.data import dataset as datasets
from tokenjax.errors import DatasetError, UserError


def card_of(name, module):
    return Card(model={"name": name, **models.values(module)})


def altered(name):
    """Yield (argument, another value of it, the small network with that)."""
    for key, argument in models.arguments(name).items():
        given = {"num_classes": 7, **SMALL[name]}
        own = dataclasses.replace(argument, default=given.get(key, argument.default))
        if argument.from_data or own.default is REQUIRED:
            continue
        for value in list_other_values(own):
            try:
                module = models.create(name, **{**given, key: value})
            except UserError:  # not beside the others
                continue
            yield argument, value, module
            break


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_that_weights_depend_on_is_named(name):
    own = card_of(name, small(name))
    assert provenance.model_differences(own, small(name)) == {}
    found = 0
    for argument, _, module in altered(name):
        differences = provenance.model_differences(own, module)
        assert bool(differences) == argument.of_weights, argument.name
        if argument.of_weights:
            assert f"model.{argument.name} " in differences[argument.name]
        found += argument.of_weights
    assert found >= 2


@pytest.mark.parametrize("name", some_long(NAMES))
def test_other_arguments_change_no_evaluation(name):
    """What is passed over must not matter: the same weights, the same scores."""
    module = small(name)
    others = {
        argument.name: value
        for argument, value, _ in altered(name)
        if not (argument.of_weights or argument.floating)
    }
    assert others
    images = jax.random.uniform(jax.random.key(1), module.example_inputs(2)[0].shape)
    variables = jax.jit(module.init)(jax.random.key(0), images)
    expected = jax.jit(module.apply)(variables, images)[0]
    found = jax.jit(small(name, **others).apply)(variables, images)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_a_model_of_another_class_is_named():
    own = card_of("vit", small("vit"))
    (sentence,) = provenance.model_differences(own, small("vdpa")).values()
    assert "vit" in sentence
    assert "VDPA" in sentence


def test_a_card_builds_its_network_again():
    for name in NAMES:
        module = small(name)
        again = provenance.create_model(card_of(name, module))
        assert type(again) is type(module)
        assert models.values(again) == models.values(module)


def test_an_unknown_model_says_what_to_import_and_imports_nothing(tmp_path):
    card = Card(model={"name": "theirs"}, imports=("wicked_module",))
    with pytest.raises(UserError, match="--import wicked_module"):
        provenance.create_model(card)


def folder_like(names, images=None, **info):
    """A data set of two images of each class."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(names), dtype=np.int32), 2)
    if images is None:
        images = generator.integers(0, 255, (len(labels), 4, 4, 3)).astype(np.uint8)
    split = data.ArraySplit(images, labels)
    made = datasets.make_dataset("drawn", names, split, split, split)
    return dataclasses.replace(made, info=dataclasses.replace(made.info, **info))


def test_classes_are_matched_by_name():
    dataset = folder_like(("ant", "cat", "dog"))
    matched = data.match_classes(dataset, ("dog", "ant", "cat"))
    named = [matched.info.class_names[label] for label in matched.test.labels]
    assert named == ["ant", "ant", "cat", "cat", "dog", "dog"]
    batch = matched.test.gather(np.array([4, 0]))
    assert batch["label"].tolist() == [0, 1]
    np.testing.assert_array_equal(
        batch["image"], dataset.test.gather(np.array([4, 0]))["image"]
    )
    assert matched.info.counts["test"].tolist() == [2, 2, 2]
    assert data.match_classes(dataset, ("ant", "cat", "dog")) is dataset


def test_some_of_the_classes_will_do():
    matched = data.match_classes(folder_like(("cat",)), ("ant", "cat", "dog"))
    assert matched.info.num_classes == 3
    assert matched.info.counts["test"].tolist() == [0, 2, 0]


@pytest.mark.parametrize("names", [("ant", "cat", "owl"), ("Ant", "cat"), ("0",)])
def test_an_unknown_class_is_refused(names):
    with pytest.raises(DatasetError, match="classes that the weights do not know"):
        data.match_classes(folder_like(names), ("ant", "cat", "dog"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mean": (0.2, 0.2, 0.2)}, "mean"),
        ({"std": (0.5, 0.5, 0.25)}, "std"),
        ({"reading": data.Reading(crop=0.9)}, "crop"),
        ({"reading": data.Reading(interpolation="bilinear")}, "interpolation"),
        ({"image_shape": (8, 4, 3)}, "height"),
        ({"image_shape": (4, 8, 3)}, "width"),
        ({"image_shape": (4, 4, 1)}, "channels"),
    ],
)
def test_every_difference_of_the_images_is_named(change, named):
    info = folder_like(("a", "b")).info
    card = Card(model={"name": "vit"}, images=provenance.describe_images(info))
    assert provenance.image_differences(card, info, "image_folder") == []
    other = dataclasses.replace(info, **change)
    (sentence,) = provenance.image_differences(card, other, "image_folder")
    assert sentence.startswith(named)


def test_what_a_source_does_not_choose_is_not_held_against_it():
    info = folder_like(("a", "b")).info
    images = dataclasses.replace(provenance.describe_images(info), crop=0.9)
    card = Card(model={"name": "vit"}, images=images)
    assert provenance.image_differences(card, info, "digits") == []


def test_other_data_is_told_by_split():
    dataset = folder_like(("a", "b"))
    config = {"task": "classification", "model": {"name": "vit"}, "data": {}}
    card = provenance.describe(config, dataset, models.create("vit"))
    assert provenance.data_differences(card, dataset) == []
    assert provenance.data_differences(card, folder_like(("a", "b"))) == []
    images = np.zeros((4, 4, 4, 3), np.uint8)
    differences = provenance.data_differences(card, folder_like(("a", "b"), images))
    assert len(differences) == 3
    assert all("as many examples (4), but others" in each for each in differences)
    (classes, *_) = provenance.data_differences(card, folder_like(("b", "a")))
    assert classes.startswith("classes")


def test_a_run_that_divides_the_same_source_otherwise_is_named():
    config = {"data": {"source": "digits", "split_seed": 0, "test_fraction": 0.2}}
    card = Card(model={"name": "vit"}, config=config)
    same = {"source": "digits", "split_seed": 0, "test_fraction": 0.2}
    assert provenance.division_differences(card, same) == []
    (sentence,) = provenance.division_differences(card, {**same, "split_seed": 3})
    assert "data.split_seed 0, not 3" in sentence
    assert provenance.division_differences(card, {**same, "source": "other"}) == []


def test_versions_are_those_installed():
    found = cards.versions()
    assert found["jax"] == jax.__version__
    assert found["numpy"] == np.__version__
