"""Attention routing against a PyTorch program of its specification, on the CPU.

Nothing was recorded of it: the reference lies in a checkout, and needs PyTorch.
"""

import importlib
import importlib.util
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.typing import VariableDict

from tokenjax import convert, models
from tokenjax.device_check.findings import Skipped
from tokenjax.device_check.parity.held import OUTPUT, Held

SMALL = {
    "img_size": 24,
    "patch_grid": 3,
    "num_classes": 5,
    "encoder_channels": 6,
    "attention_hidden_dim": 7,
    "big_hidden_dim": 16,
    "small_hidden_dim": 9,
    "embed_dim": 8,
    "aggregator_dim": 12,
    "head_hidden_dim": 10,
    "dropout": 0.0,
    "threshold": 0.28,
}
# Biases before a norm that takes them away: rounding is left of their gradients.
CANCELLED = re.compile(r"backbone\.encoder\.(0|4|8)\.bias")


def hold(held: Held) -> None:
    """Hold inference and a training step's gradients.

    Raises: Skipped without PyTorch, or outside a checkout.
    """
    for needed in ("torch", "references"):
        if importlib.util.find_spec(needed) is None:
            raise Skipped(f"there is no {needed} here")
    model, variables, images, labels = _start()
    program = _reference(model, variables)
    _hold_inference(held, model, variables, images, program)
    _hold_training(held, model, variables, images, labels, program)


def _start() -> tuple[nn.Module, VariableDict, np.ndarray, np.ndarray]:
    """Return the model, variables nowhere at their defaults, images and labels."""
    model = models.create("attention_routing", **SMALL)
    (example,) = model.example_inputs(8)
    random = np.random.default_rng(0)
    images = random.normal(size=example.shape).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), images)

    def stir(path: tuple, leaf: jax.Array) -> jax.Array:
        name = str(path)
        if "router" in name:
            return leaf
        if leaf.ndim > 1 or "scale" in name or "var" in name:
            spread = random.uniform(0.5, 1.5, leaf.shape)
            return jnp.float32(leaf * spread * (2 if "head" in name else 1))
        return jnp.float32(random.normal(size=leaf.shape) * 0.1)

    variables = jax.tree_util.tree_map_with_path(stir, variables)
    return model, variables, images, random.integers(0, 5, 8)


def _reference(model: nn.Module, variables: VariableDict) -> "torch.nn.Module":  # type: ignore[name-defined]  # noqa: F821
    import torch

    module = importlib.import_module("references.pytorch_routing")
    program = getattr(module, type(model).__name__)(model)
    state = convert.to_torch(model, variables)
    tensors = {key: torch.tensor(np.asarray(each)) for key, each in state.items()}
    program.load_state_dict(tensors, strict=True)
    return program


def _hold_inference(
    held: Held,
    model: nn.Module,
    variables: VariableDict,
    images: np.ndarray,
    program: "torch.nn.Module",  # type: ignore[name-defined]  # noqa: F821
) -> None:
    import torch

    logits, aux = jax.jit(model.apply)(variables, images)
    with torch.no_grad():
        wanted, mask, scores = program.eval()(_channels_first(images))
    held.equal(aux["mask"], mask.numpy(), "mask")
    held.close(aux["attention_scores"], scores.numpy(), OUTPUT, "scores")
    held.close(logits, wanted.numpy(), OUTPUT, "logits")


def _hold_training(
    held: Held,
    model: nn.Module,
    variables: VariableDict,
    images: np.ndarray,
    labels: np.ndarray,
    program: "torch.nn.Module",  # type: ignore[name-defined]  # noqa: F821
) -> None:
    import torch

    def loss(params: VariableDict) -> tuple[jax.Array, jax.Array]:
        (logits, _), _ = model.apply(
            {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), logits

    found, logits = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    wanted, *_ = program.train()(_channels_first(images))
    torch.nn.functional.cross_entropy(wanted, torch.from_numpy(labels)).backward()
    held.close(logits, wanted.detach().numpy(), OUTPUT, "logits in training")
    gradients = {key: each.grad.numpy() for key, each in program.named_parameters()}
    cancelled = {key for key in gradients if CANCELLED.match(key)}
    ours = convert.to_torch(model, {**variables, "params": found})
    held.gradients(ours, gradients, vanishing=cancelled)


def _channels_first(images: np.ndarray) -> "torch.Tensor":  # type: ignore[name-defined]  # noqa: F821
    import torch

    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
