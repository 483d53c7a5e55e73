"""Whole models that turn images into logits: outputs, gradients of all parameters."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.typing import VariableDict

from tokenjax import convert, models
from tokenjax.device_check.parity.held import GRADIENT, OUTPUT, Held
from tokenjax.device_check.parity.recorded import RecordedCase
from tokenjax.ops import neighborhood

SIZES = ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio")


def vdpa(case: RecordedCase, held: Held) -> None:
    """Hold the recorded VDPA."""
    given, known = case.meta["constructor_args"], models.argument_names("vdpa")
    _hold(case, held, "vdpa", {key: given[key] for key in given if key in known})


def vdpa_training(case: RecordedCase, held: Held) -> None:
    """Hold the steps of AdamW that were recorded of VDPA: losses and weights."""
    arguments = case.meta["constructor_args"]
    model = models.create("vdpa", **_known("vdpa", arguments["model"]))
    variables = convert.from_torch(model, case.group("state"))
    images = jnp.asarray(case["input/images"].transpose(0, 2, 3, 1))
    labels, adamw = jnp.asarray(case["input/labels"]), arguments["adamw"]
    optimizer = optax.adamw(adamw["lr"], weight_decay=adamw["weight_decay"])

    @jax.jit
    def step(
        variables: VariableDict, state: optax.OptState
    ) -> tuple[VariableDict, optax.OptState, jax.Array]:
        def loss_of(variables: VariableDict) -> jax.Array:
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
    held.close(jnp.stack(losses), case["output/losses"], GRADIENT, "losses")
    by_key = convert.to_torch(model, variables)
    for key, expected in case.group("output/final_state").items():
        held.close(by_key[key], expected, GRADIENT, key)


def local_pooling(case: RecordedCase, held: Held) -> None:
    """Hold VDPA's adaptive local pooling, the operator alone."""
    cotangent = case["input/cotangent"][:, 0]

    def loss(tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        pooled = neighborhood.adaptive_local_pooling(tokens)[0]
        return jnp.sum(pooled * cotangent), pooled

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    found, pooled = gradient(jnp.asarray(case["input/tokens"]))
    held.close(pooled, case["output/class_token"][:, 0], OUTPUT, "class token")
    held.close(found, case["grad_input/tokens"], GRADIENT, "tokens")


def cifar(case: RecordedCase, held: Held, name: str, **more: object) -> None:
    """Hold a model of CIFAR-ViT."""
    _hold(case, held, name, {**case.meta["constructor_args"]["model"], **more})


def peer(case: RecordedCase, held: Held, name: str) -> None:
    """Hold one of timm's networks."""
    _hold(case, held, name, case.meta["constructor_args"])


def reduced(case: RecordedCase, held: Held, name: str, *keys: str) -> None:
    """Hold a ViT with a method of token reduction; `keys` are the method's own."""
    given = case.meta["arguments"]
    arguments = {key: given[key] for key in (*SIZES, "num_classes")}
    reduction = {"name": name, **{key: given[key] for key in keys}}
    _hold(case, held, "vit_base_patch16", {**arguments, "reduction": reduction})


def _known(name: str, given: Mapping[str, object]) -> dict[str, object]:
    known = models.argument_names(name)
    return {key: value for key, value in given.items() if key in known}


def _hold(
    case: RecordedCase, held: Held, name: str, arguments: Mapping[str, object]
) -> None:
    """Hold a model's logits and gradients, in inference."""
    model: nn.Module = models.create(name, **arguments)
    variables = convert.from_torch(model, case.group("state"))
    images = jnp.asarray(case["input/images"].transpose(0, 2, 3, 1))
    inputs = case.group("input")
    cotangent = inputs.get("cotangent", inputs.get("weights"))
    others = {key: value for key, value in variables.items() if key != "params"}

    def loss(params: VariableDict, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits, _ = model.apply({**others, "params": params}, images)
        return jnp.sum(logits * cotangent), logits

    gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    (found, of_images), logits = gradient(variables["params"], images)
    held.close(logits, case["output/logits"], OUTPUT, "logits")
    if "grad_input/images" in case.arrays:
        expected = case["grad_input/images"].transpose(0, 2, 3, 1)
        held.close(of_images, expected, GRADIENT, "images")
    by_key = convert.to_torch(model, {**others, "params": found})
    without = case.meta.get("no_gradient") or []
    held.gradients(by_key, case.group("grad"), without)
