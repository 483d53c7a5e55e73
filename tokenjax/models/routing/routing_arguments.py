"""The arguments of the routing models, checked.

Source of their names and defaults: the Vision Attention Routing Framework.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax.errors import UserError
from tokenjax.models.routing.routers import GUMBEL_INFERENCE, ROUTERS
from tokenjax.models.routing.routing_parts import AGGREGATORS, ENCODERS, STEM

ATTENTION = ("spatial", "global")
MASK_GRADIENT = ("dense", "executed")
EXECUTION = ("gathered", "masked")


class RoutingArguments(nn.Module):
    """What a routing model is built from.

    Attributes:
      img_size: pixels a side; patch_grid must divide it.
      patch_grid: patches a side.
      encoder: "convolutional" or "lean"; with encoder_channels and encoder_layers.
      attention: the head that scores, "spatial" or "global".
      attention_hidden_dim, attention_layers: of its linear layers.
      router: see `tokenjax.models.routing.routers`.
      threshold, temperature: where a router's parameters start; tau above 0.
      budget: share of the patches that "top_k" sends.
      gumbel_inference: "hard", "top_p" or "expectation".
      big_hidden_dim, big_layers, small_hidden_dim, small_layers: of the two networks.
      embed_dim: what both give.
      aggregator: "concat", "mean" or "attention".
      aggregator_dim, head_hidden_dim: of what follows.
      attention_scale: of the scores under the aggregator's softmax.
      dropout: in both networks and the task head.
      mask_gradient: "dense" or "executed", in training.
      target_ratio, budget_weight: aux["losses"]["budget"] is
        budget_weight * (mean ratio - target_ratio)^2; 0: off.
      dtype: of the arithmetic; parameters, scores and logits are float32.

    Raises: UserError (a ValueError) for arguments that do not fit together.
    """

    img_size: int = 32
    patch_grid: int = 4
    in_channels: int = 3
    num_classes: int = 10
    encoder: str = "convolutional"
    encoder_channels: int = 64
    encoder_layers: int = 2
    attention: str = "spatial"
    attention_hidden_dim: int = 32
    attention_layers: int = 1
    router: str = "learnable_threshold"
    threshold: float = 0.5
    temperature: float = 1.0
    budget: float = 0.25
    gumbel_inference: str = "hard"
    big_hidden_dim: int = 512
    big_layers: int = 3
    small_hidden_dim: int = 64
    small_layers: int = 1
    embed_dim: int = 128
    aggregator: str = "concat"
    aggregator_dim: int = 256
    head_hidden_dim: int = 128
    attention_scale: float = 1.0
    dropout: float = 0.1
    mask_gradient: str = "dense"
    target_ratio: float = 0.25
    budget_weight: float = 0.0
    execution: str = "gathered"
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        for wrong, sentence in self.problems():
            if wrong:
                raise UserError(f"{type(self).__name__}: {sentence}")
        super().__post_init__()

    def problems(self) -> list[tuple[bool, str]]:
        """What does not fit together, as (wrong, sentence)."""

        def choice(value: str, valid: tuple[str, ...], key: str) -> tuple[bool, str]:
            return value not in valid, f"{key} must be one of {valid}, got {value!r}"

        def at_least(key: str, minimum: int) -> tuple[bool, str]:
            value = getattr(self, key)
            return value < minimum, f"{key} must be at least {minimum}, got {value}"

        def share(key: str) -> tuple[bool, str]:
            value = getattr(self, key)
            wrong = not 0 <= value <= 1
            return wrong, f"{key} is a share, within [0, 1], got {value}"

        sizes: tuple[str, ...] = (
            "img_size",
            "patch_grid",
            "in_channels",
            "num_classes",
        )
        sizes += ("encoder_channels", "attention_hidden_dim", "attention_layers")
        sizes += ("big_hidden_dim", "small_hidden_dim", "embed_dim")
        sizes += ("aggregator_dim", "head_hidden_dim")
        sizes += ("encoder_layers",)
        layers = ("big_layers", "small_layers")
        return [
            *(at_least(key, 1) for key in sizes),
            *(at_least(key, 0) for key in layers),
            (
                self.img_size % max(self.patch_grid, 1) != 0,
                f"patch_grid {self.patch_grid} does not divide img_size "
                f"{self.img_size}",
            ),
            (
                self.encoder_side() == 0,
                f"{self.encoder_layers} encoder_layers leave nothing of "
                f"{self.img_size} pixels",
            ),
            choice(self.encoder, ENCODERS, "encoder"),
            choice(self.attention, ATTENTION, "attention"),
            choice(self.router, ROUTERS, "router"),
            choice(self.aggregator, AGGREGATORS, "aggregator"),
            choice(self.mask_gradient, MASK_GRADIENT, "mask_gradient"),
            choice(self.execution, EXECUTION, "execution"),
            choice(self.gumbel_inference, GUMBEL_INFERENCE, "gumbel_inference"),
            (
                not self.temperature > 0,
                f"temperature must be above 0, got {self.temperature}",
            ),
            share("budget"),
            share("target_ratio"),
            (not self.budget_weight >= 0, "budget_weight must be at least 0"),
            (not 0 <= self.dropout < 1, "dropout must be within [0, 1)"),
        ]

    def example_inputs(self, batch_size: int) -> tuple[jax.Array]:
        """Images of zeros, for measuring and initialising."""
        shape = (batch_size, self.img_size, self.img_size, self.in_channels)
        return (jnp.zeros(shape, jnp.float32),)

    def encoder_side(self) -> int:
        """Rows of the encoder's features."""
        if self.encoder == "lean":
            return self.img_size // STEM
        return self.img_size >> max(self.encoder_layers, 0)
