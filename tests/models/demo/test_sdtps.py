"""SDTPS: counts, ways of the mask and of the gradients, ties, noise, mistakes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.drawn_variables import drawn_variables

from tokenjax.models.demo.sdtps import (
    MODALITIES,
    MultiModalSDTPS,
)

MASK_AGGREGATION = ("recorded", "policy", "none")
SCORE_GRADIENT = ("all", "self", "none")

SMALL = {"embed_dim": 16, "num_patches": 20}  # 20 -> 10 -> 4, and the extra one
GUMBEL = {"use_gumbel": True}


def small(**more):
    return MultiModalSDTPS(**SMALL | more)


def drawn(model, batch=2):
    """(tokens, globals), and variables that other arguments of the class take too."""
    tokens, globals_ = model.example_inputs(batch)
    key = jax.random.key(1)

    def draw(index, array):
        return jax.random.normal(jax.random.fold_in(key, index), array.shape)

    names = model.modalities
    inputs = (
        {name: draw(i, tokens[name]) for i, name in enumerate(names)},
        {name: draw(i + 100, globals_[name]) for i, name in enumerate(names)},
    )
    return drawn_variables(model, *inputs), inputs


@pytest.fixture(scope="module")
def start():
    return drawn(small())


def uniforms(seed=5):
    draws = jax.random.uniform(jax.random.key(seed), (len(MODALITIES), 2, 20))
    return dict(zip(MODALITIES, draws, strict=True))


def loss(model, names, variables, inputs, noise=None):
    enhanced, aux = model.apply(variables, *inputs, train=True, uniforms=noise)
    return sum(jnp.sum(jnp.sin(enhanced[name])) for name in names), (enhanced, aux)


@functools.cache
def gradient(model, names=MODALITIES):
    """(variables, inputs, noise) -> ((value, outputs), gradients of both)."""
    partial = functools.partial(loss, model, names)
    return jax.value_and_grad(partial, (0, 1), has_aux=True)


def size(tree):
    return float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))))


@pytest.mark.parametrize(
    ("patches", "kept", "aggregated"), [(196, 98, 39), (128, 64, 25), (4, 2, 0)]
)
def test_the_counts_of_tokens(patches, kept, aggregated):
    """Of the seed's two settings."""
    model = small(num_patches=patches)
    assert model.aggregated == aggregated
    inputs = model.example_inputs(3)
    variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    enhanced, aux = jax.eval_shape(model.apply, variables, *inputs)
    for name in MODALITIES:
        assert enhanced[name].shape == (3, aggregated + 1, 16)
        assert aux["keep_indices"][name].shape == (3, kept)
        assert aux["aggregation"][name].shape == (3, aggregated, kept)
        assert aux["mask"][name].shape == aux["scores"][name].shape == (3, patches)
        assert aux["similarities"][name].shape == (3, 3, patches)


def test_the_class_token_is_the_41st_of_196_patches():
    """39 aggregated, the extra one and the modality's global vector, which is last."""
    model = small(num_patches=196, class_token=True)
    variables, inputs = drawn(model)
    enhanced, _ = model.apply(variables, *inputs)
    without, _ = small(num_patches=196).apply(variables, *inputs)
    assert model.made == 41
    for name in MODALITIES:
        assert enhanced[name].shape == (2, 41, 16)
        np.testing.assert_array_equal(enhanced[name][:, :40], without[name])
        np.testing.assert_array_equal(enhanced[name][:, 40], inputs[1][name])


@pytest.mark.long  # the recorded cases hold each way
def test_the_ways_of_the_mask_differ_in_gradients_alone(start):
    variables, inputs = start
    outputs, learned, sizes = {}, {}, {}
    for way in MASK_AGGREGATION:
        model = small(mask_aggregation=way, **GUMBEL)
        (_, outputs[way]), gradients = gradient(model)(variables, inputs, uniforms())
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
        params = gradients[0]["params"]
        learned[way] = [params[f"{name}_sparse"] for name in MODALITIES]
        sizes[way] = [size(part) for part in (*gradients[1], learned[way])]
    same = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    for way in ("policy", "none"):
        jax.tree.map(same, outputs["recorded"], outputs[way])
    tokens, globals_, predictor = (
        dict(zip(MASK_AGGREGATION, values, strict=True))
        for values in zip(*sizes.values(), strict=True)
    )
    for part in (tokens, globals_, predictor):
        assert part["recorded"] > 1e4 * part["policy"]
        assert part["policy"] < 10 * part["none"]
    for way in ("recorded", "policy"):  # the predictor learns what to keep
        change = jax.tree.map(jnp.subtract, learned[way], learned["none"])
        assert size(change) > 0.1 * predictor["none"]


@pytest.mark.parametrize("way", SCORE_GRADIENT)
@pytest.mark.parametrize("more", [{}, {"mask_aggregation": "policy", **GUMBEL}])
def test_which_globals_get_a_gradient(start, way, more):
    """From the first modality's tokens."""
    model = small(score_gradient=way, **more)
    _, (_, (tokens, globals_)) = gradient(model, ("rgb",))(*start, uniforms())
    reached = {name for name in MODALITIES if globals_[name].any()}
    assert reached == {"all": {*MODALITIES}, "self": {"rgb"}, "none": set()}[way]
    assert {name for name in MODALITIES if tokens[name].any()} == {"rgb"}


def test_the_ways_of_the_gradient_have_the_same_values(start):
    values = [
        gradient(small(score_gradient=way), ("rgb",))(*start, uniforms())[0]
        for way in SCORE_GRADIENT
    ]
    same = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    jax.tree.map(same, values[0], values[1])
    jax.tree.map(same, values[0], values[2])


def test_without_noise_the_mask_has_no_gradient(start):
    """It is then 1 whatever the scores are: the factor 1e10 multiplies nothing."""
    ways = [small(mask_aggregation=way) for way in MASK_AGGREGATION]
    found = [gradient(model, ("rgb",))(*start) for model in ways]
    same = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    for other in found[1:]:
        jax.tree.map(same, found[0], other)


def test_noise_changes_gradients_and_nothing_else(start):
    variables, inputs = start
    model = small(mask_aggregation="policy", **GUMBEL)
    plain = small().apply(variables, *inputs)
    found = [gradient(model)(variables, inputs, uniforms(seed)) for seed in (5, 6)]
    for (_, outputs), _ in found:
        for name in MODALITIES:
            np.testing.assert_array_equal(
                outputs[1]["mask"][name], plain[1]["mask"][name]
            )
            for key in ("scores", "keep_indices"):
                close = np.testing.assert_allclose
                close(outputs[1][key][name], plain[1][key][name], atol=1e-6)
            np.testing.assert_allclose(outputs[0][name], plain[0][name], atol=1e-6)
    (_, first), (_, second) = found
    assert size(jax.tree.map(jnp.subtract, first, second)) > 1e-3 * size(first)


def test_uniforms_stand_for_draws(start):
    """Without them the key decides, and each modality draws for itself."""
    variables, inputs = start
    model = small(mask_aggregation="policy", **GUMBEL)
    # The same weights, tokens and vectors in every modality.
    params = variables["params"]
    alike = {
        f"{name}_{part}": params[f"rgb_{part}"]
        for name in MODALITIES
        for part in ("sparse", "aggr")
    }
    inputs = [dict.fromkeys(MODALITIES, given["rgb"]) for given in inputs]

    def slopes(key, noise):
        def total(tokens):
            rngs = {"gumbel": key}
            arguments = ({"params": alike}, tokens, inputs[1], True, noise)
            return jnp.sum(
                jnp.sin(jnp.stack(list(model.apply(*arguments, rngs=rngs)[0].values())))
            )

        return jax.grad(total)(inputs[0])

    keys = [jax.random.key(seed) for seed in (0, 1)]
    first, again, other = (slopes(key, None) for key in (keys[0], keys[0], keys[1]))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    for different in (other["rgb"], first["nir"], first["tir"]):
        assert np.abs(first["rgb"] - different).max() > 1e-3
    same = dict.fromkeys(MODALITIES, uniforms()["rgb"])
    given = [slopes(key, same) for key in keys]
    jax.tree.map(np.testing.assert_array_equal, *given)
    np.testing.assert_allclose(given[0]["rgb"], given[0]["nir"], atol=1e-6)
    with pytest.raises(Exception, match="gumbel"):
        model.apply(variables, *inputs, train=True)


def test_the_ends_of_the_draws_give_finite_gradients(start):
    ends = jnp.array([0.0, 1.0, 1 - 2**-24, 0.5]).repeat(5)
    noise = dict.fromkeys(MODALITIES, jnp.stack([ends, ends[::-1]]))
    for way in ("recorded", "policy"):
        model = small(mask_aggregation=way, **GUMBEL)
        _, gradients = gradient(model)(*start, noise)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_vectors_of_zeros_give_finite_gradients(start):
    """All similarities are then 0, and so are those normalised."""
    variables, inputs = start
    inputs = jax.tree.map(jnp.zeros_like, inputs)
    model = small(mask_aggregation="policy", **GUMBEL)
    (_, (enhanced, aux)), gradients = gradient(model)(variables, inputs, uniforms())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert not any(leaf.any() for leaf in jax.tree.leaves(enhanced))
    assert aux["keep_indices"]["rgb"].tolist() == [list(range(10))] * 2


@pytest.mark.parametrize("names", [("rgb", "tir"), ("visible", "near", "far", "depth")])
def test_other_modalities(names):
    model = small(modalities=names)
    variables, inputs = drawn(model)
    enhanced, aux = model.apply(variables, *inputs)
    assert set(variables["params"]) == {
        f"{name}_{part}" for name in names for part in ("sparse", "aggr")
    }
    tokens, globals_ = inputs
    unit = [
        np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))
        for x in (tokens[names[0]], *globals_.values())
    ]
    for number, name in enumerate(names):
        assert enhanced[name].shape == (2, 5, 16)
        assert aux["mask"][name].sum(1).tolist() == [10, 10]
        found = aux["similarities"][names[0]][number]
        expected = np.einsum("bnc,bc->bn", unit[0], unit[1 + number])
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)


def test_other_counts_of_tokens():
    """`num_patches` alone sets how many come out."""
    variables, (tokens, globals_) = drawn(small())
    fewer = {name: value[:, :7] for name, value in tokens.items()}
    fewer["nir"] = tokens["nir"][:, :13]
    enhanced, aux = jax.eval_shape(small().apply, variables, fewer, globals_)
    for name, kept in zip(MODALITIES, (4, 7, 4), strict=True):
        assert enhanced[name].shape == (2, 5, 16)
        assert aux["keep_indices"][name].shape == (2, kept)


def test_one_compilation_per_shape():
    model = small(modalities=("rgb",))
    variables, inputs = drawn(model)
    traces = []

    @jax.jit
    def apply(variables, inputs):
        traces.append(1)
        return model.apply(variables, *inputs)[0]

    for batch in (1, 2, 1, 2, 2):
        apply(variables, jax.tree.map(lambda x, b=batch: x[:b], inputs))
    assert len(traces) == 2


def test_bfloat16_computes_about_the_same(start):
    variables, inputs = start
    exact = small(beta=0.5).apply(variables, *inputs)
    half = small(beta=0.5, dtype="bfloat16")
    dtypes = jax.eval_shape(half.init, jax.random.key(0), *inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(dtypes)} == {jnp.dtype("float32")}
    enhanced, aux = jax.jit(half.apply)(variables, *inputs)
    for name in MODALITIES:
        # beta 0.5 leaves the predictor out: scores are those of float32 throughout
        assert aux["scores"][name].dtype == jnp.float32
        np.testing.assert_allclose(aux["scores"][name], exact[1]["scores"][name], 1e-6)
        assert enhanced[name].dtype == jnp.bfloat16
        error = np.abs(enhanced[name].astype(jnp.float32) - exact[0][name]).max()
        assert 0 < error < 0.02 * np.abs(exact[0][name]).max()


def test_bfloat16_keeps_the_mask_exact():
    """It is 1 at the kept: 1e10 times an error would show."""
    plain = small(modalities=("rgb",), dtype="bfloat16")
    variables, inputs = drawn(plain)
    noise = {"rgb": uniforms()["rgb"]}
    enhanced, _ = jax.jit(plain.apply)(variables, *inputs)
    partial = functools.partial(loss, plain.clone(use_gumbel=True), ("rgb",))
    run = jax.jit(jax.value_and_grad(partial, (0, 1), has_aux=True))
    (_, (noisy, aux)), gradients = run(variables, inputs, noise)
    assert aux["mask"]["rgb"].dtype == jnp.float32
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    difference = noisy["rgb"].astype(jnp.float32) - enhanced["rgb"].astype(jnp.float32)
    assert np.abs(difference).max() < 0.02


def test_none_dropped_is_no_hole_in_the_gradient():
    model = small(sparse_ratio=1.0, aggr_ratio=0.2, modalities=("rgb",))
    run = jax.jit(gradient(model, ("rgb",)))
    (_, (enhanced, _)), gradients = run(*drawn(model), None)
    assert enhanced["rgb"].shape == (2, 5, 16)
    assert not enhanced["rgb"][:, -1].any()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert gradients[1][0]["rgb"].any()
