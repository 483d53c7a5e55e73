"""The arguments of the routing models, checked.

Source of their names and defaults: the Vision Attention Routing Framework.
"""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from tokenjax.arguments import (
    AT_INFERENCE,
    COUNT,
    NOT_NEGATIVE,
    NOT_OF_WEIGHTS,
    SHARE,
    SIZE,
    DType,
    OneOf,
)
from tokenjax.models.argument_types import (
    POSITIVE,
    Channels,
    Classes,
    Dropout,
    Execution,
    Side,
    Width,
)
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.routing.routers import (
    ROUTERS,
    GumbelInference,
    GumbelThreshold,
)
from tokenjax.models.routing.routing_parts import (
    STEM,
    AggregatorKind,
    AttentionKind,
    EncoderKind,
)


class RoutingArguments(CheckedModule):
    """The arguments of a routing model; parameters, scores and logits are float32.

    aux["losses"]["budget"] is budget_weight * (mean ratio - target_ratio)^2.

    Raises: UserError (a ValueError) for arguments that do not fit together.
    """

    img_size: Side = 32
    patch_grid: Annotated[int, SIZE, "patches a side; must divide img_size"] = 4
    in_channels: Channels = 3
    num_classes: Classes = 10
    encoder: Annotated[
        EncoderKind, "the network before the scores; lean costs a tenth"
    ] = "convolutional"
    encoder_channels: Annotated[Width, "channels of the encoder"] = 64
    encoder_layers: Annotated[int, SIZE, "convolutions of the encoder"] = 2
    attention: Annotated[
        AttentionKind, "scores a patch by its own features, or by the whole image's"
    ] = "spatial"
    attention_hidden_dim: Annotated[Width, "hidden channels of the scoring head"] = 32
    attention_layers: Annotated[int, SIZE, "linear layers of the scoring head"] = 1
    router: Annotated[
        str, OneOf(ROUTERS), "what turns scores into a choice of patches"
    ] = "learnable_threshold"
    threshold: Annotated[
        float, AT_INFERENCE, "score from which patches are sent, to start with"
    ] = 0.5
    temperature: Annotated[
        float,
        POSITIVE,
        AT_INFERENCE,
        "softness of the router's decision in the gradients",
    ] = 1.0
    budget: Annotated[
        float, SHARE, AT_INFERENCE, "share of patches that top_k sends"
    ] = 0.25
    gumbel_inference: Annotated[
        GumbelInference, AT_INFERENCE, "how the gumbel router decides at inference"
    ] = "hard"
    gumbel_noise: Annotated[
        float,
        NOT_NEGATIVE,
        AT_INFERENCE,
        "scale of the gumbel router's noise in training; 1: as specified, 0: none",
    ] = 1.0
    gumbel_threshold: Annotated[
        GumbelThreshold, "of the gumbel router: 1/2 as specified, or learned"
    ] = "half"
    big_hidden_dim: Annotated[Width, "hidden channels of the big network"] = 512
    big_layers: Annotated[int, COUNT, "hidden layers of the big network"] = 3
    small_hidden_dim: Annotated[Width, "hidden channels of the small network"] = 64
    small_layers: Annotated[int, COUNT, "hidden layers of the small network"] = 1
    embed_dim: Annotated[Width, "channels that both networks give for a patch"] = 128
    aggregator: Annotated[
        AggregatorKind, "how patches become one vector; attention weighs by score"
    ] = "concat"
    aggregator_dim: Annotated[Width, "channels of that vector"] = 256
    head_hidden_dim: Annotated[Width, "hidden channels of the classifier"] = 128
    attention_scale: Annotated[
        float,
        NOT_NEGATIVE,
        AT_INFERENCE,
        'of the scores, with aggregator="attention"',
    ] = 1.0
    dropout: Dropout = 0.1
    mask_gradient: Annotated[
        Literal["dense", "executed"],
        NOT_OF_WEIGHTS,
        "in training: both networks on every patch, or each patch through its own",
    ] = "dense"
    target_ratio: Annotated[
        float, SHARE, "share of patches to the big network that the loss asks for"
    ] = 0.25
    budget_weight: Annotated[
        float,
        NOT_NEGATIVE,
        NOT_OF_WEIGHTS,
        "of the loss that asks for target_ratio; 0: none",
    ] = 0.0
    execution: Execution = "gathered"
    dtype: DType = jnp.float32

    def problems(self) -> list[tuple[bool, str]]:
        """Return what does not fit together, as (wrong, sentence)."""
        beyond = self.img_size % self.patch_grid
        return [
            (
                beyond != 0,
                f"patch_grid {self.patch_grid} does not divide img_size "
                f"{self.img_size} ({self.img_size - beyond + self.patch_grid} pixels "
                "would do)",
            ),
            (
                self.encoder_side() == 0,
                f"{self.encoder_layers} encoder_layers leave nothing of "
                f"{self.img_size} pixels",
            ),
        ]

    def example_inputs(self, batch_size: int) -> tuple[jax.Array]:
        """Return images of zeros, for measuring and initialising."""
        shape = (batch_size, self.img_size, self.img_size, self.in_channels)
        return (jnp.zeros(shape, jnp.float32),)

    def encoder_side(self) -> int:
        """Return the rows of the encoder's features."""
        if self.encoder == "lean":
            return self.img_size // STEM
        return self.img_size >> self.encoder_layers
