"""Which tokens SDTPS keeps, what becomes of the dropped, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenjax.errors import UserError
from tokenjax.models.demo.sdtps import MultiModalSDTPS, TokenAggregation, TokenSparse


def small(**more):
    return MultiModalSDTPS(**{"embed_dim": 16, "num_patches": 20} | more)


@functools.cache
def sparse(count, ratio, beta):
    """A jitted TokenSparse on (1, count) scores of two kinds."""
    model = TokenSparse(embed_dim=8, sparse_ratio=ratio)
    tokens = jax.random.normal(jax.random.key(2), (1, count, 8))
    flat = jnp.zeros((1, count))
    variables = jax.jit(model.init)(jax.random.key(0), tokens, flat, flat, flat)
    apply = functools.partial(model.apply, variables, beta=beta)
    return jax.jit(lambda tokens, own, other: apply(tokens, own, other, other)), tokens


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([(1, 0.5), (6, 0.5), (7, 0.5), (7, 1.0), (9, 0.05)]),
    data=st.data(),
)
def test_kept_and_dropped(shape, data):
    """Ties by index; the mask counts the kept; the extra token is of the dropped."""
    count, ratio = shape
    values = st.lists(
        st.sampled_from([-1.0, 0.0, 0.25, 1.0]), min_size=count, max_size=count
    )
    given_scores = [jnp.array([data.draw(values)]) for _ in range(2)]
    apply, tokens = sparse(count, ratio, 0.5)
    found = apply(tokens, *given_scores)
    scores, rows = np.asarray(found.scores[0]), np.asarray(tokens[0])
    order = sorted(range(count), key=lambda index: (-scores[index], index))
    kept = max(1, int(np.ceil(count * ratio)))
    assert found.keep_indices[0].tolist() == order[:kept]
    np.testing.assert_array_equal(found.tokens[0], rows[order[:kept]])
    np.testing.assert_array_equal(found.selected_mask, np.ones((1, kept)))
    assert np.flatnonzero(found.mask[0]).tolist() == sorted(order[:kept])
    assert found.mask.sum() == kept
    dropped = order[kept:]
    if not dropped:
        assert not found.extra.any()
        return
    weights = np.exp(scores[dropped]) / np.exp(scores[dropped]).sum()
    np.testing.assert_allclose(found.extra[0, 0], weights @ rows[dropped], atol=1e-5)


def test_tokens_of_equal_scores_stay_in_their_order():
    apply, tokens = sparse(6, 0.5, 0.5)
    assert apply(tokens, *[jnp.ones((1, 6))] * 2).keep_indices.tolist() == [[0, 1, 2]]


def test_an_order_of_the_tokens_makes_no_difference():
    apply, tokens = sparse(9, 0.5, 0.25)
    own, other = jax.random.normal(jax.random.key(3), (2, 1, 9))
    order = np.random.default_rng(0).permutation(9)
    plain = apply(tokens, own, other)
    moved = apply(tokens[:, order], own[:, order], other[:, order])
    np.testing.assert_array_equal(moved.mask, plain.mask[:, order])
    for key in ("tokens", "extra"):
        actual, expected = getattr(moved, key), getattr(plain, key)
        np.testing.assert_allclose(actual, expected, atol=1e-6, err_msg=key)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"sparse_ratio": 0.0}, r"sparse_ratio must be within \(0, 1\]"),
        ({"aggr_ratio": 1.1}, r"aggr_ratio must be within \(0, 1\]"),
        ({"beta": 0.6}, r"beta must be within \[0, 0.5\]"),
        ({"gumbel_tau": 0.0}, "gumbel_tau must be above 0"),
        ({"embed_dim": 3}, "embed_dim must be at least 4"),
        ({"dim_ratio": 0.01}, "dim_ratio is too small"),
        ({"modalities": ()}, "modalities must be different names"),
        ({"modalities": ("rgb", "rgb")}, "modalities must be different names"),
        ({"mask_aggregation": "polcy"}, "mask_aggregation must be one of.*'polcy'"),
        ({"score_gradient": "al"}, "score_gradient must be one of.*'al'"),
    ],
)
def test_arguments_out_of_range(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        small(**arguments)


def test_the_parts_refuse_what_they_do_not_know():
    with pytest.raises(UserError, match="mask_aggregation must be one of"):
        TokenAggregation(mask_aggregation="polcy")
    with pytest.raises(UserError, match=r"sparse_ratio must be .*got 1.5"):
        TokenSparse(embed_dim=8, sparse_ratio=1.5)


def test_inputs_that_do_not_fit():
    model = small()
    tokens, globals_ = model.example_inputs(2)
    init = functools.partial(jax.eval_shape, model.init, jax.random.key(0))
    two = {name: tokens[name] for name in ("rgb", "nir")}
    narrow = jax.tree.map(lambda x: x[..., :8], tokens)
    for what, arguments in {
        "tokens must be .* modality .*'tir'\\), got \\('nir', 'rgb'": (two, globals_),
        "globals must be a dict by modality": (tokens, {**globals_, "depth": 0}),
        "uniforms must be a dict by modality": (tokens, globals_, True, two),
        r"embed_dim 16, got \(2, 20, 8\)": (narrow, globals_),
    }.items():
        with pytest.raises(ValueError, match=what):
            init(*arguments)
