"""What a predictor answers, beside an evaluation's numbers."""

import jax
import numpy as np
import pytest
from helpers.loadable import CLASSES, save_weights
from helpers.small_models import NAMES, small, small_demo

import tokenjax
from tokenjax.card import Images
from tokenjax.errors import UserError
from tokenjax.prediction import embedding

RNG = np.random.default_rng(0)
MODALITIES = ("rgb", "nir", "tir")


def pictures(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    directory = tmp_path_factory.mktemp("weights") / "vit"
    save_weights(directory, "vit", small("vit"), classes=CLASSES)
    return tokenjax.load(directory, batch_size=4)


def test_apply_takes_what_the_network_does(predictor):
    images = pictures(3, 16, 16, 3)
    logits, aux = predictor.apply(predictor.normalize(images))
    card = predictor.card.images
    by_hand = (images / np.float32(255) - np.float32(card.mean)) / np.float32(card.std)
    expected, _ = predictor.model.apply(predictor.variables, by_hand)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert aux["tokens"].shape == (3, 17, 16)
    found = predictor.predict(images)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-4, atol=1e-5)


def test_in_half_precision_weights_are_rounded_once_and_follow_new_ones(tmp_path):
    model = small("vit", dtype="bfloat16")
    save_weights(tmp_path / "vit", "vit", model, classes=CLASSES)
    predictor = tokenjax.load(tmp_path / "vit", batch_size=4)
    images = pictures(3, 16, 16, 3)
    normalised = predictor.normalize(images)
    plain = jax.jit(predictor.model.apply)

    def hold():
        expected = np.float32(plain(predictor.variables, normalised)[0])
        np.testing.assert_array_equal(predictor.apply(normalised)[0], expected)
        return predictor.predict(images).logits

    assert predictor.variables["params"]["head"]["kernel"].dtype == np.float32
    before = hold()
    predictor.variables = jax.tree.map(lambda leaf: 2 * leaf, predictor.variables)
    assert np.abs(hold() - before).max() > 0.01


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_any_number_of_pictures(predictor, count):
    """The last batch is filled up; what fills it changes nothing."""
    images = pictures(9, 16, 16, 3)
    whole = predictor.predict(images).logits
    np.testing.assert_array_equal(
        predictor.predict(images[:count]).logits, whole[:count]
    )
    assert len(whole) == 9


def test_a_run_of_pictures_is_taken_as_it_comes(predictor):
    """Batches are made while earlier ones are computed, never all at once."""
    made = []

    def batches():
        for number in range(40):
            made.append(number)
            yield pictures(4, 16, 16, 3)

    seen = []

    def function(variables, batch):
        seen.append(len(made))
        return batch[:, 0, 0, 0]

    (found,) = predictor.run(batches(), function)
    assert found.shape == (160,)
    assert all(ahead - number <= 4 for number, ahead in enumerate(seen))


def test_what_the_head_takes(predictor):
    vectors = predictor.embed(pictures(5, 20, 30, 3))
    assert vectors.shape == (5, 16)
    assert vectors.dtype == np.float32
    with pytest.raises(UserError, match="several modalities"):
        predictor.embed({"rgb": pictures(5, 16, 16, 3)})


@pytest.mark.parametrize("name", NAMES)
def test_every_head(name):
    """A network's classes follow from what its head is said to take."""
    model = small(name)
    path = embedding.head_paths(model)[0].split("/")
    inputs = model.example_inputs(2)
    variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    found = jax.eval_shape(
        lambda variables, images: embedding.embed(model, variables, images),
        variables,
        *inputs,
    )
    parameters = variables["params"]
    for part in path:
        parameters = parameters[part]
    kernels = [leaf for leaf in jax.tree.leaves(parameters) if len(leaf.shape) == 2]
    assert found.shape == (2, kernels[0].shape[0])
    assert kernels[-1].shape[1] == 7


def test_scores_follow_from_the_vector(predictor):
    images = pictures(3, 16, 16, 3)
    head = predictor.variables["params"]["head"]
    scores = predictor.embed(images) @ head["kernel"] + head["bias"]
    logits = predictor.predict(images).logits
    np.testing.assert_allclose(scores, logits, rtol=1e-4, atol=1e-5)


def test_a_head_that_is_never_called():
    class Misnamed(type(small("vit"))):
        def parameter_groups(self):
            return {"head": ("haed/**",)}

    model = Misnamed(img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2)
    inputs = model.example_inputs(1)
    variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    with pytest.raises(UserError, match="Misnamed says that 'haed' is its head"):
        jax.eval_shape(
            lambda variables, images: embedding.embed(model, variables, images),
            variables,
            *inputs,
        )


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    images = Images(
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        height=16,
        width=8,
        channels=3,
        stretch=True,
        interpolation="bilinear",
        modalities=MODALITIES,
    )
    directory = tmp_path_factory.mktemp("weights") / "demo"
    save_weights(directory, "demo", small_demo(), images=images)
    return tokenjax.load(directory, batch_size=4)


def test_features_of_several_modalities(finder):
    given = {name: pictures(6, 16, 8, 3) for name in MODALITIES}
    cameras = np.array([0, 1, 2, 0, 1, 2])
    vectors = finder.embed(given, cameras)
    normal = {name: finder.normalize(images) for name, images in given.items()}
    direct = finder.apply(normal, cameras)
    np.testing.assert_allclose(
        vectors, direct["features"]["concat"], rtol=1e-3, atol=1e-4
    )
    assert not np.allclose(vectors, finder.embed(given))  # another camera


def test_a_modality_that_is_not_there(finder):
    given = {name: pictures(2, 30, 20, 3) for name in ("rgb", "tir")}
    normal = {
        name: finder.normalize(finder.preprocess(images))
        for name, images in given.items()
    }
    normal["nir"] = np.zeros_like(normal["rgb"])
    expected = finder.apply(normal, np.zeros(2, np.int32))
    np.testing.assert_allclose(
        finder.embed(given), expected["features"]["concat"], rtol=1e-3, atol=1e-4
    )


def test_samples_that_do_not_fit(finder):
    with pytest.raises(UserError, match="takes images by modality"):
        finder.embed(pictures(2, 16, 8, 3))
    with pytest.raises(UserError, match="unknown modality 'rbg', did you mean 'rgb'"):
        finder.embed({"rbg": pictures(2, 16, 8, 3)})
    with pytest.raises(UserError, match="as many pictures"):
        finder.embed({"rgb": pictures(2, 16, 8, 3), "nir": pictures(3, 16, 8, 3)})


def test_looks(predictor):
    images = predictor.preprocess(pictures(3, 16, 16, 3))
    found = predictor.look(images)
    assert found["class_attention"].shape == (2, 3, 16)
    best = predictor.predict(images).order[:, 0]
    np.testing.assert_array_equal(found["prediction"], best)
