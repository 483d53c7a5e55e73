"""Weights rounded beforehand: the same bits, and no weight that is read otherwise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import half_weights, models


def types(tree):
    return jax.tree.map(lambda leaf: str(leaf.dtype), tree)


def test_only_what_is_always_read_rounded_is_kept_so():
    weights = {name: jnp.ones(2) for name in ("once", "twice", "both", "out", "unread")}
    weights["whole"] = jnp.ones(2, jnp.bfloat16)
    weights["count"] = jnp.arange(2)

    @jax.jit
    def nested(array):
        return array.astype(jnp.bfloat16) * 2

    @jax.checkpoint
    def remembered(array, other):
        return nested(array) + other

    def function(weights, x):
        y = nested(weights["once"]) + remembered(weights["twice"], x)
        y += weights["twice"].astype(jnp.bfloat16)
        y += weights["both"].astype(jnp.bfloat16) * weights["both"].sum().astype(
            x.dtype
        )
        y += weights["out"].astype(jnp.bfloat16) + weights["count"].astype(jnp.bfloat16)
        return y + weights["whole"], weights["out"]

    kept = half_weights.keep(function, weights, jnp.ones(2, jnp.bfloat16))
    assert types(kept) == {
        "once": "bfloat16",
        "twice": "bfloat16",
        "both": "float32",
        "out": "float32",
        "unread": "float32",
        "whole": "bfloat16",
        "count": "bfloat16",
    }


def test_every_branch_must_read_it_rounded():
    weights = {name: jnp.ones(2) for name in ("all", "one", "some", "returned")}

    def rounded(weights, x):
        return sum(weight.astype(x.dtype) for weight in weights.values()) * x

    def else_rounded(weights, x):
        y = weights["all"].astype(x.dtype) * x
        return y + weights["some"].sum().astype(x.dtype)

    def function(weights, index):
        x = jnp.ones(2, jnp.bfloat16)
        chosen = jax.lax.switch(index, [rounded, else_rounded], weights, x)
        same = jax.lax.cond(
            index > 0, lambda array: array, jnp.exp, weights["returned"]
        )
        return jax.lax.platform_dependent(
            weights, chosen, cpu=rounded, default=rounded
        ) + same.astype(x.dtype)

    assert types(half_weights.keep(function, weights, 0)) == {
        "all": "bfloat16",
        "one": "bfloat16",
        "some": "float32",
        "returned": "float32",
    }


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("attention_routing", {"img_size": 8, "patch_grid": 2, "encoder_layers": 1}),
        ("vit", {"embed_dim": 32, "depth": 2, "num_heads": 2}),
        ("vdpa", {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2}),
    ],
)
def test_a_model_computes_the_same_bits(name, arguments):
    model = models.create(name, dtype=jnp.bfloat16, **arguments)
    inputs = model.example_inputs(2)
    apply = jax.jit(functools.partial(model.apply, train=False))
    variables = jax.jit(model.init)(jax.random.key(0), *inputs)
    kept = half_weights.keep(apply, variables, *inputs)
    kinds = jax.tree.leaves(types(kept))
    assert "bfloat16" in kinds
    assert "float32" in kinds  # LayerNorm's, whose arithmetic is in float32
    kernels = [
        str(leaf.dtype)
        for path, leaf in jax.tree.leaves_with_path(kept["params"])
        if path[-1].key == "kernel"
    ]
    assert kernels == ["bfloat16"] * len(kernels)
    expected, ours = apply(variables, *inputs)[0], apply(kept, *inputs)[0]
    np.testing.assert_array_equal(np.float32(expected), np.float32(ours))


def test_a_model_in_float32_keeps_its_weights():
    model = models.create("vit", embed_dim=32, depth=1, num_heads=2)
    inputs = model.example_inputs(1)
    variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variables)
    kept = half_weights.keep(model.apply, variables, *inputs)
    assert set(jax.tree.leaves(types(kept))) == {"float32"}
