"""VDPA against the recorded PyTorch original: outputs, gradients, a training run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tokenjax import convert, models
from tokenjax.models import layers
from tokenjax.ops import neighborhood

OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4


def build(arguments, state, **more):
    names = models.argument_names("vdpa")
    kwargs = {key: value for key, value in arguments.items() if key in names}
    model = models.create("vdpa", **kwargs, **more)
    return model, convert.from_torch(model, state)


def nhwc(images):
    return jnp.asarray(images.transpose(0, 2, 3, 1))


@pytest.fixture(scope="module")
def recorded(golden):
    case = golden("vdpa/model")
    model, variables = build(case.meta["constructor_args"], case.group("state"))
    return case, model, variables


def test_outputs_and_intermediates(recorded, assert_close):
    case, model, variables = recorded
    apply = jax.jit(lambda v, x: model.apply(v, x, capture_intermediates=True))
    (logits, aux), captured = apply(variables, nhwc(case["input/images"]))
    captured = captured["intermediates"]

    assert_close(logits, case["output/logits"], OUTPUT_TOLERANCE, "logits")
    assert_close(aux["alpha"], case["output/alpha"], OUTPUT_TOLERANCE, "alpha")
    first = captured["blocks_0"]
    pairs = {
        "patch_tokens": captured["patch_embed"]["__call__"][0],
        "block_0": first["__call__"][0][0],
        "block_1": captured["blocks_1"]["__call__"][0][0],
        "norm_tokens": captured["norm"]["__call__"][0],
        "block_0_alpha": first["vdfc"]["__call__"][0][:, None, None, None],
    }
    for name, actual in pairs.items():
        assert_close(actual, case[f"output/{name}"], OUTPUT_TOLERANCE, name)
    lga = case["output/block_0_lga"]
    actual = np.broadcast_to(first["lga"]["__call__"][0], lga.shape)
    assert_close(actual, lga, OUTPUT_TOLERANCE, "block_0_lga")


def test_local_attention_and_pooling(recorded, assert_close):
    case, model, variables = recorded
    model = model.clone(return_attention=True)
    apply = jax.jit(lambda v, x: model.apply(v, x, capture_intermediates=True))
    (_, aux), captured = apply(variables, nhwc(case["input/images"]))
    qkv = captured["intermediates"]["blocks_0"]["qkv"]["__call__"][0]
    value = layers.split_heads(qkv, model.num_heads)[2]
    local = aux["attention"][0] @ value
    assert_close(local, case["output/block_0_stk"], OUTPUT_TOLERANCE, "block_0_stk")
    pooled = jnp.einsum("bn,bnc->bc", aux["alp_shares"], case["output/norm_tokens"])
    expected = case["output/class_token"][:, 0]
    assert_close(pooled, expected, OUTPUT_TOLERANCE, "class_token")


def test_gradients(recorded, assert_close):
    case, model, variables = recorded

    def loss(variables, images):
        logits, _ = model.apply(variables, images)
        return jnp.sum(logits * case["input/cotangent"])

    images = nhwc(case["input/images"])
    gradients, image_gradient = jax.jit(jax.grad(loss, (0, 1)))(variables, images)
    expected = case["grad_input/images"].transpose(0, 2, 3, 1)
    assert_close(image_gradient, expected, GRADIENT_TOLERANCE, "images")
    by_key = convert.to_torch(model, gradients)
    recorded_gradients = case.group("grad")
    assert set(recorded_gradients) == set(by_key) - {"neighbor_idx"}
    for key, expected in recorded_gradients.items():
        assert_close(by_key[key], expected, GRADIENT_TOLERANCE, key)


def test_training_trajectory(golden, assert_close):
    case = golden("vdpa/train_adamw")
    arguments = case.meta["constructor_args"]
    model, variables = build(arguments["model"], case.group("state"))
    images, labels = nhwc(case["input/images"]), jnp.asarray(case["input/labels"])
    adamw = arguments["adamw"]
    optimizer = optax.adamw(adamw["lr"], weight_decay=adamw["weight_decay"])

    @jax.jit
    def step(variables, state):
        def loss_of(variables):
            logits, _ = model.apply(variables, images, train=True)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean()

        loss, gradients = jax.value_and_grad(loss_of)(variables)
        updates, state = optimizer.update(gradients, state, variables)
        return optax.apply_updates(variables, updates), state, loss

    state, losses = optimizer.init(variables), []
    for _ in range(arguments["steps"]):
        variables, state, loss = step(variables, state)
        losses.append(loss)
    assert_close(losses, case["output/losses"], 1e-4, "losses")
    logits, _ = jax.jit(model.apply)(variables, images)
    assert_close(logits, case["output/final_logits"], 1e-4, "final logits")
    by_key = convert.to_torch(model, variables)
    for key, expected in case.group("output/final_state").items():
        assert_close(by_key[key], expected, 1e-4, key)


def test_pooling_alone(golden, assert_close):
    case = golden("vdpa/alp")
    tokens, cotangent = case["input/tokens"], case["input/cotangent"][:, 0]
    pool = jax.jit(lambda x: neighborhood.adaptive_local_pooling(x)[0])
    expected = case["output/class_token"][:, 0]
    assert_close(pool(tokens), expected, OUTPUT_TOLERANCE, "class token")
    slope = jax.jit(jax.grad(lambda x: jnp.sum(pool(x) * cotangent)))
    gradient = slope(tokens)
    expected = case["grad_input/tokens"]
    assert_close(gradient, expected, GRADIENT_TOLERANCE, "tokens")

    grid = case.meta["constructor_args"]["grid"]
    zeroed = jnp.asarray(tokens).at[0, grid].set(0.0)
    expected = case["output/class_token_zero_token"][:, 0]
    assert_close(pool(zeroed), expected, OUTPUT_TOLERANCE, "zero token")
    assert np.isfinite(slope(zeroed)).all()


@pytest.mark.parametrize("grid", [2, 3, 4])
def test_neighbor_tables(golden, grid):
    expected = golden("vdpa/grid_neighbors")[f"output/table_grid{grid}_k9"]
    np.testing.assert_array_equal(neighborhood.grid_neighbors(grid, 9), expected)
