"""What every model of the registry keeps to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import models

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
ROUTED = {
    "img_size": 16,
    "patch_grid": 2,
    "encoder_channels": 10,
    "threshold": 0.5035,  # between the scores, far from each: bfloat16 decides alike
    "big_hidden_dim": 16,
    "small_hidden_dim": 8,
    "embed_dim": 8,
    "aggregator_dim": 16,
    "head_hidden_dim": 16,
}
SMALL = {
    "vdpa": TINY,
    "vit": TINY,
    "cifar_vit_tiny": TINY,
    "cifar_vit_small": TINY,
    "cifar_vit_base": TINY,
    "linear_vit": TINY,
    "lightweight_vit": TINY,
    "dynamic_vit": TINY | {"depth": 4},
    "attention_routing": ROUTED,
    "attention_routing_lean": ROUTED | {"threshold": 0.5165},
    "full_compute": ROUTED,
    "cheap_compute": ROUTED,
    "no_routing": ROUTED,
}
SAME_CLASS = {"cifar_vit_tiny", "cifar_vit_small", "cifar_vit_base", "lightweight_vit"}
SAME_CLASS |= {"attention_routing_lean"}
VARIANTS = {
    **{name: (name, {}) for name in SMALL if name not in SAME_CLASS},
    "vdpa_soft_topk": ("vdpa", {"stk": "soft_topk", "stk_temperature": 0.1}),
    "vdpa_global": ("vdpa", {"global_tokens": 3}),
    "vdpa_border": ("vdpa", {"alp_border": "renormalise", "k_neighbors": 4}),
    "vdpa_dropout": ("vdpa", {"drop": 0.1, "attn_drop": 0.1}),
    "vdpa_remat": ("vdpa", {"remat": True}),
    "vit_remat": ("vit", {"remat": True}),
    "vit_patch_dropout": ("vit", {"patch_dropout": 0.5, "initialization": "xavier"}),
    "linear_vit_remat": ("linear_vit", {"remat": True}),
    "dynamic_vit_remat": ("dynamic_vit", {"remat": True}),
    "dynamic_vit_masked": ("dynamic_vit", {"execution": "masked"}),
    "dynamic_vit_linear": ("dynamic_vit", {"predictor": "linear"}),
    "routing_sigmoid_gate": ("attention_routing", {"router": "sigmoid_gate"}),
    "routing_gumbel": ("attention_routing", {"router": "gumbel"}),
    "routing_top_k": ("attention_routing", {"router": "top_k"}),
    "routing_global": ("attention_routing", {"attention": "global"}),
    "routing_mean": ("attention_routing", {"aggregator": "mean"}),
    "routing_attention": ("attention_routing", {"aggregator": "attention"}),
    "routing_lean": ("attention_routing_lean", {}),
    "routing_executed": ("attention_routing", {"mask_gradient": "executed"}),
}
UNUSED = {
    # The original has a predictor after the last block too, and never asks it.
    "dynamic_vit_linear": ("predictors_3",),
    # The original's baselines have the encoder and read nothing of it.
    "full_compute": ("encoder", "attention_head"),
    "cheap_compute": ("encoder", "attention_head"),
    "no_routing": ("encoder",),
}


def small(variant, **more):
    name, arguments = VARIANTS[variant]
    return models.create(name, **{"num_classes": 7} | SMALL[name] | arguments | more)


def takes(name, argument):
    return argument in models.argument_names(name)


@functools.cache
def start(model, batch=2):
    shape = model.example_inputs(batch)[0].shape
    images = jax.random.normal(jax.random.key(1), shape)
    return jax.jit(model.init)(jax.random.key(0), images), images


def rngs():
    return {"dropout": jax.random.key(2), "gumbel": jax.random.key(3)}


def train(model, variables, images):
    """As a training step applies it: running averages are written, and left here."""
    outputs, _ = model.apply(
        variables, images, train=True, rngs=rngs(), mutable=["batch_stats"]
    )
    return outputs


def test_every_model_is_tested():
    assert set(models.names()) == set(SMALL)


@pytest.mark.parametrize("variant", VARIANTS)
def test_train_and_eval(variant):
    attention = takes(VARIANTS[variant][0], "return_attention")
    model = small(variant, **{"return_attention": True} if attention else {})
    variables, images = start(model)
    logits, aux = jax.jit(model.apply)(variables, images)
    apply = jax.jit(functools.partial(train, model))
    train_logits, train_aux = apply(variables, images)
    assert logits.shape == train_logits.shape == (2, 7)
    assert logits.dtype == jnp.float32
    assert jax.tree.structure(aux) == jax.tree.structure(train_aux)
    assert isinstance(aux["losses"], dict)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((logits, aux)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_finite_gradients_reach_all_that_matters(variant):
    model = small(variant)
    variables, images = start(model)

    @jax.jit
    def gradient(params):
        def loss(params):
            logits, _ = train(model, {**variables, "params": params}, images)
            return jnp.sum(logits**2)

        return jax.grad(loss)(params)

    for path, leaf in jax.tree.leaves_with_path(gradient(variables["params"])):
        assert np.isfinite(leaf).all(), path
        if not any(unused in str(path) for unused in UNUSED.get(variant, ())):
            assert np.abs(leaf).max() > 0, path


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_computes_about_the_same(variant):
    model, half = small(variant), small(variant, dtype="bfloat16")
    variables, images = start(model)
    same = jax.tree.map(lambda x: x.dtype, start(half)[0])
    assert set(jax.tree.leaves(same)) == {jnp.dtype("float32")}
    exact, _ = jax.jit(model.apply)(variables, images)
    coarse, _ = jax.jit(half.apply)(variables, images)
    assert coarse.dtype == jnp.float32
    assert np.abs(coarse - exact).max() < 0.05 * np.abs(exact).max() + 0.05


@pytest.mark.parametrize("name", sorted(set(SMALL) - SAME_CLASS))
def test_one_compilation_per_shape(name):
    model = small(name)
    variables, images = start(model, batch=3)
    traces = []

    @jax.jit
    def apply(variables, images):
        traces.append(images.shape)
        return model.apply(variables, images)[0]

    for batch in (1, 2, 1, 2, 2):
        apply(variables, images[:batch])
    assert len(traces) == 2


@pytest.mark.parametrize("name", sorted(set(SMALL) - SAME_CLASS))
def test_images_do_not_mix(name):
    model = small(name)
    variables, images = start(model)
    apply = jax.jit(lambda v, x: model.apply(v, x)[0])
    alone = jnp.concatenate([apply(variables, images[i : i + 1]) for i in range(2)])
    np.testing.assert_allclose(apply(variables, images), alone, atol=1e-5)


@pytest.mark.parametrize(
    "name", [n for n in sorted(set(SMALL) - SAME_CLASS) if takes(n, "remat")]
)
def test_remat_changes_nothing(name):
    model, remat = small(name), small(f"{name}_remat")
    variables, images = start(model)
    plain, again = (jax.jit(lambda v, x, m=m: m.apply(v, x)[0]) for m in (model, remat))
    np.testing.assert_allclose(
        plain(variables, images), again(variables, images), atol=1e-6
    )


def test_patch_dropout_leaves_patches_out_in_training_alone():
    model = small("vit_patch_dropout", dropout=0.0, attn_dropout=0.0)
    variables, images = start(model)

    @functools.partial(jax.jit, static_argnums=0)
    def tokens(train, seed=0):
        rngs = {"dropout": jax.random.key(seed)}
        return model.apply(variables, images, train=train, rngs=rngs)[1]["tokens"]

    assert tokens(False).shape[1] == 17
    assert tokens(True).shape[1] == 9
    assert np.abs(tokens(True) - tokens(True, seed=1)).max() > 1e-3
    with pytest.raises(ValueError, match=r"patch_dropout must be within \[0, 1\)"):
        small("vit", patch_dropout=1.0)
    for pruning, left in (("learned", 17), ("none", 9)):
        model = small("dynamic_vit", patch_dropout=0.5, pruning=pruning)
        variables, images = start(model)
        shapes = jax.eval_shape(
            lambda v, x, m=model: m.apply(v, x, train=True, rngs=rngs()),
            variables,
            images,
        )
        assert shapes[1]["tokens"].shape[1] == left


def test_the_recorded_sizes():
    sizes = {
        32_525_926: {"img_size": 512, "embed_dim": 512, "depth": 10},
        72_340_838: {},
        5_912_932: {
            "embed_dim": 192,
            "depth": 12,
            "num_heads": 3,
            "num_classes": 1000,
        },
    }
    for expected, arguments in sizes.items():
        model = models.create("vdpa", **arguments)
        inputs = model.example_inputs(1)
        variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
        assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == expected


def test_bad_input():
    with pytest.raises(ValueError, match="unknown model 'vpda', did you mean 'vdpa'"):
        models.create("vpda")
    with pytest.raises(ValueError, match=r"did you mean 'depth'.*Valid: .*embed_dim"):
        models.create("vdpa", dpth=3)
    with pytest.raises(ValueError, match="embed_dim must divide by num_heads"):
        models.create("vdpa", embed_dim=30, num_heads=4)
    with pytest.raises(ValueError, match="stk must be one of"):
        models.create("vdpa", stk="hard")
    model = small("vdpa")
    variables, images = start(model)
    with pytest.raises(ValueError, match=r"\(batch, 16, 16, 3\).*got \(2, 16, 16, 1\)"):
        model.apply(variables, images[..., :1])
