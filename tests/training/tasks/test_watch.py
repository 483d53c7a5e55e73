"""What shows over a run what a model looks at: the same examples, each time asked."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables
from helpers.reid_tasks import make
from helpers.small_models import small

from tokenjax import data
from tokenjax.training import inference
from tokenjax.training.distribution import devices
from tokenjax.training.settings import Settings
from tokenjax.training.tasks import Classification
from tokenjax.training.tasks.task import spread

SETTINGS = Settings.from_config({"data": {"source": "digits", "image_size": 16}})


def labels(shown):
    return [row.label.split("\n")[0] for row in shown.rows]


@pytest.fixture(scope="module")
def digits():
    return data.load(SETTINGS.data)


def watched(digits, module):
    task = Classification(module, digits, SETTINGS)
    variables = drawn_variables(task.model, *task.model.example_inputs(1))
    return task, task.watch(digits.validation, 5, devices.own_mesh()), variables


def test_a_classifier_is_watched_on_the_same_images(digits):
    task, watch, variables = watched(
        digits, small("vit", in_channels=1, num_classes=10)
    )
    looks = watch.look(variables)
    split = digits.validation
    chosen = spread(split, 5)
    np.testing.assert_array_equal(looks["image"], split.gather(chosen)["image"])
    assert looks["label"].tolist() == sorted(set(looks["label"])), "different classes"
    look = jax.jit(functools.partial(inference.look, task.model, task.prepare))
    expected = look(variables, looks["image"])
    maps = looks["class_attention"]  # (depth, n, patches)
    np.testing.assert_allclose(maps, expected["class_attention"], rtol=1e-4)
    shown = watch.draw(looks)
    assert labels(shown) == ["image", "attention of", "attention of"]
    assert all(len(row.pictures) == 5 for row in shown.rows)
    names = [task.info.class_names[index] for index in expected["prediction"]]
    assert shown.captions == names
    right = np.asarray(expected["prediction"]) == looks["label"]
    assert shown.right == right.tolist()
    again = watch.look(variables)
    np.testing.assert_array_equal(again["class_attention"], maps)


class Reticent(nn.Module):
    """A classifier that reports nothing; its scores are linear in the image."""

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(10, name="head")(images.reshape(len(images), -1)), {
            "losses": {}
        }

    def example_inputs(self, batch_size):
        return (jnp.zeros((batch_size, 16, 16, 1)),)

    def parameter_groups(self):
        return {"head": ("head/**",)}


def test_a_model_that_reports_nothing_is_asked_what_its_score_changes_with(digits):
    _, watch, variables = watched(digits, Reticent())
    looks = watch.look(variables)
    assert labels(watch.draw(looks)) == ["image", "what the"]
    slopes = np.abs(variables["params"]["head"]["kernel"]).T.reshape(10, 16, 16)
    expected = slopes[looks["prediction"]]  # each pixel is a place
    np.testing.assert_allclose(looks["input_gradient"], expected, rtol=1e-5)


def test_places_are_means_of_the_largest_derivative():
    weights = jnp.arange(40 * 80 * 2.0).reshape(40, 80, 2) - 100
    images = {"a": jnp.ones((3, 40, 80, 2))}
    found = inference.weigh_places(
        lambda images: jnp.einsum("nhwc,hwc->n", images["a"], weights), images
    )["a"]
    assert found.shape == (3, 8, 16)  # places of 5 pixels
    strongest = jnp.abs(weights).max(-1)
    np.testing.assert_allclose(found[2, 0, 0], strongest[:5, :5].mean(), rtol=1e-5)
    np.testing.assert_allclose(found[1, 7, 15], strongest[35:, 75:].mean(), rtol=1e-5)


def test_few_examples_fill_all_devices():
    """Rows that fill up are no part of what comes back."""
    mesh = devices.own_mesh()
    batch = {"image": np.arange(3.0)}

    def function(variables, batch):
        doubled = 2 * batch["image"]
        return {"mask": doubled, "class_attention": jnp.stack([doubled] * 2)}

    found = inference.compile_few(mesh, function, batch)({})
    assert found["mask"].tolist() == [0, 2, 4]
    assert found["class_attention"].tolist() == [[0, 2, 4]] * 2


def test_selected_tokens_are_watched(task, dataset, variables):
    watch = task.watch(dataset.validation, 4, devices.own_mesh())
    looks = watch.look(variables)
    shown = watch.draw(looks)
    assert labels(shown) == ["rgb", "scores", "tokens kept:"]
    direct = task.inspect(variables, [], dataset.validation)
    assert looks["mask"].keys() == direct["mask"].keys()
    same = spread(dataset.validation, 4)[0] == spread(dataset.validation, 6)[0]
    assert same, "the first identity's first image is in both"
    np.testing.assert_array_equal(looks["mask"]["rgb"][0], direct["mask"]["rgb"][0])


@pytest.mark.long  # another network
def test_a_network_that_selects_none_is_asked_what_its_feature_changes_with(dataset):
    task = make(dataset, model={"fusion": "none"})
    watch = task.watch(dataset.validation, 3, devices.own_mesh())
    variables = jax.jit(task.init)(jax.random.key(0))
    looks = watch.look(variables)
    assert set(looks["gradients"]) == set(task.info.modalities)
    assert all((each.max((1, 2)) > 0).all() for each in looks["gradients"].values())
    assert labels(watch.draw(looks)) == ["rgb", "what the"]
