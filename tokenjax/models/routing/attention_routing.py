"""Attention-guided routing: every patch to a big or to a small network.

    a = head(encoder(image))                     a score per patch, (b, n)
    m = router(a)                                1: big, 0: small
    y_i = m_i big(x_i) + (1 - m_i) small(x_i)    x_i the pixels of patch i
    logits = task(aggregate(y))

Axes: b images, n = patch_grid^2 patches by rows, d = embed_dim.

Inference is conditional: each patch runs through one network, packed by
`tokenjax.ops.dispatch` (where a device would sooner compute them all than choose, it
does, and masks). Training is, by `mask_gradient`,

    "dense"      both networks on every patch,
                 dL/dm_i = <dL/dy_i, big(x_i) - small(x_i)>
    "executed"   each patch through its own; in dL/dm_i the other one counts as 0

Baselines: full_compute and cheap_compute send every patch to the big or the small
network, no_routing has no attention head either. As in the original they have the
encoder and read nothing of it (unless the aggregator weighs by score), so jit drops it
at inference; their FLOPs in `aux` count it.

Source: the Vision Attention Routing Framework. Ours: router "top_k", the budget loss,
"executed", `attention_scale`, execution="masked" (to hold the gathered one against).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from tokenjax.models import contract
from tokenjax.models.layers import Aux, check_images
from tokenjax.models.parameter_layers import whole
from tokenjax.models.routing.routers import ROUTERS, Routed, Router
from tokenjax.models.routing.routing_arguments import RoutingArguments
from tokenjax.models.routing.routing_parts import (
    Aggregator,
    AttentionHead,
    Encoder,
    PatchMLP,
    TaskHead,
    cut_patches,
)
from tokenjax.ops.batch_parts import over_parts
from tokenjax.ops.dispatch import apply_to_selected, shard_index


class Parts(NamedTuple):
    """The modules of one model."""

    encoder: Encoder
    head: AttentionHead
    big: PatchMLP
    small: PatchMLP
    aggregator: Aggregator
    task: TaskHead


class AttentionRouting(RoutingArguments):
    """Classifier: images (b, img_size, img_size, in_channels) -> (logits, aux).

    `__call__` takes `temperature` and `target_ratio` in place of the attributes, which
    may be arrays: what a training schedule changes from step to step.

    `aux`: "attention_scores" and "mask" (b, n), "routing_ratio" (b,), the share of
    patches sent to the big network, "threshold" (), "routing_probability" (b, n), the
    soft decision; FLOPs of each image, (b,): "expected_flops" by that probability,
    "actual_flops" by the mask (in dense training both networks on all patches; the
    padding of a dispatch is not counted); "losses".
    """

    def parameter_groups(self) -> contract.Groups:
        """Return the groups of its parameters, as `contract.Model` says."""
        first = "stem" if self.encoder == "lean" else "convolutions_0"
        return {
            contract.HEAD: ("task_head/classifier/**",),
            contract.INPUT: (
                f"encoder/{first}/kernel",
                *(f"{network}/layers_0/kernel" for network in self.networks()),
            ),
        }

    def networks(self) -> tuple[str, ...]:
        """Return which of the two networks there are, by their parameters' name."""
        return "big", "small"

    def parameter_layers(self) -> contract.Layers:
        """Return its parameters from input to output, as `contract.Layered` says."""
        return [
            whole("encoder"),
            whole("attention_head", "router"),
            whole("big", "small"),
            whole("aggregator"),
            whole("task_head"),
        ]

    @nn.nowrap
    def with_attention(self) -> contract.Model:
        """Return the network with what figures show in `aux`: all that there is.

        Few images are looked at: both networks on every patch is one program, where
        the gathered execution has one for each capacity.
        """
        return self.clone(execution="masked")

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        train: bool = False,
        temperature: ArrayLike | None = None,
        target_ratio: ArrayLike | None = None,
    ) -> tuple[jax.Array, Aux]:
        check_images(images, (self.img_size, self.img_size, self.in_channels))
        parts = self.parts()
        features = parts.encoder(images, train)
        scores = self.score(parts, features)  # (b, n)
        routed = self.decide(scores, train, temperature)
        patches = cut_patches(images, self.patch_grid).astype(self.dtype)
        embeddings = self.embed(parts, patches, routed.mask, train)  # (b, n, d)
        pooled = parts.aggregator(embeddings, scores)
        logits = parts.task(pooled, train)
        target = self.target_ratio if target_ratio is None else target_ratio
        return logits, {
            "attention_scores": scores,
            "mask": routed.mask,
            "routing_ratio": routed.mask.mean(axis=1),
            "routing_probability": routed.probability,
            "threshold": jnp.asarray(routed.threshold),
            **self.flops(parts, routed, patches.shape[-1], train),
            "losses": {"budget": self.budget_loss(routed.mask, target)},
        }

    def score(self, parts: Parts, features: jax.Array) -> jax.Array:
        """Score patches: features (b, h, w, c) -> (b, n)."""
        return parts.head(features)

    def decide(
        self, scores: jax.Array, train: bool, temperature: ArrayLike | None
    ) -> Routed:
        """Decide by scores (b, n) which patches go to the big network."""
        temperature = self.temperature if temperature is None else temperature
        return self.make_router(name="router")(scores, train, temperature)

    def make_router(self, **module: Any) -> Router:
        """Make the router; `module` is what Flax takes: `name`, `parent`."""
        return ROUTERS[self.router](
            threshold=self.threshold,
            temperature=self.temperature,
            budget=self.budget,
            gumbel_inference=self.gumbel_inference,
            gumbel_noise=self.gumbel_noise,
            gumbel_threshold=self.gumbel_threshold,
            **module,
        )

    def learned_arguments(self) -> Mapping[str, contract.Learned]:
        """Return the router's; see `contract.LearnsArguments`."""
        learned = self.make_router(parent=None).learned()
        return {name: _of_router(each) for name, each in learned.items()}

    def runs_both(self, train: bool) -> bool:
        """Return whether every patch runs through both networks."""
        if train:
            return self.mask_gradient == "dense"
        return self.execution == "masked" or self.make_router(parent=None).is_soft

    def embed(
        self, parts: Parts, patches: jax.Array, mask: jax.Array, train: bool
    ) -> jax.Array:
        """Embed patches (b, n, pixels) by a mask (b, n): (b, n, d)."""
        if self.runs_both(train) or self.is_initializing():
            big, small = parts.big(patches, train), parts.small(patches, train)
        else:
            big = self.on_selected(parts.big, patches, mask > 0, train)
            small = self.on_selected(parts.small, patches, mask == 0, train)
        share = mask[..., None].astype(self.dtype)  # (b, n, 1)
        return share * big + (1 - share) * small

    def on_selected(
        self, network: PatchMLP, patches: jax.Array, selected: jax.Array, train: bool
    ) -> jax.Array:
        """Apply the network to the selected patches, 0 elsewhere: (b, n, d)."""
        key = self.make_rng("dropout") if train and self.dropout else None
        unbound = network.clone(parent=None, name=None)

        def function(operands: Any, rows: jax.Array) -> jax.Array:
            params, key = operands
            rngs = {}
            if key is not None:
                rngs["dropout"] = jax.random.fold_in(key, shard_index())
            outputs: Any = unbound.apply({"params": params}, rows, train, rngs=rngs)
            return outputs

        operands = (network.variables["params"], key)
        return apply_to_selected(function, operands, patches, selected)

    def flops(
        self, parts: Parts, routed: Routed, pixels: int, train: bool
    ) -> dict[str, jax.Array]:
        """Count FLOPs of each image, (b,): expected by probability, actual by mask."""
        count = self.patch_grid**2
        fixed = parts.encoder.flops(self.img_size, self.in_channels)
        fixed += self.head_flops(parts)
        fixed += parts.aggregator.flops(count, self.embed_dim)
        fixed += parts.task.flops(self.aggregator_dim)
        big, small = parts.big.flops(pixels), parts.small.flops(pixels)

        def total(share: jax.Array) -> jax.Array:
            share = jax.lax.stop_gradient(share).mean(axis=1)
            return fixed + count * (share * big + (1 - share) * small)

        actual = total(routed.mask)
        if self.runs_both(train):
            actual = jnp.full_like(actual, fixed + count * (big + small))
        return {"expected_flops": total(routed.probability), "actual_flops": actual}

    def budget_loss(self, mask: jax.Array, target: ArrayLike) -> jax.Array:
        """Return the loss that asks for the ratio, ()."""
        return self.budget_weight * jnp.square(over_parts(mask.mean()) - target)

    def head_flops(self, parts: Parts) -> int:
        """Count FLOPs of the attention head on one image."""
        return parts.head.flops(self.encoder_channels)

    def parts(self) -> Parts:
        """Make the modules; what a baseline leaves out gets no parameters."""
        dtype, dropout = jnp.dtype(self.dtype), self.dropout
        return Parts(
            encoder=Encoder(
                self.encoder,
                self.encoder_channels,
                self.encoder_layers,
                dtype,
                name="encoder",
            ),
            head=AttentionHead(
                self.attention,
                self.patch_grid,
                self.attention_hidden_dim,
                self.attention_layers,
                dtype,
                name="attention_head",
            ),
            big=PatchMLP(
                self.big_hidden_dim,
                self.embed_dim,
                self.big_layers,
                dropout,
                dtype,
                name="big",
            ),
            small=PatchMLP(
                self.small_hidden_dim,
                self.embed_dim,
                self.small_layers,
                dropout,
                dtype,
                name="small",
            ),
            aggregator=Aggregator(
                self.aggregator,
                self.aggregator_dim,
                self.attention_scale,
                dtype,
                name="aggregator",
            ),
            task=TaskHead(
                self.head_hidden_dim, self.num_classes, dropout, dtype, name="task_head"
            ),
        )


def _of_router(learned: contract.Learned) -> contract.Learned:
    """Return it as a function of the whole model's variables."""

    def value(variables: contract.Tree) -> float:
        return learned.value(variables["params"]["router"])

    def replace(variables: contract.Tree, value: float) -> contract.Tree:
        own = variables["params"]["router"]
        changed = learned.replace(own, value)
        router = jax.tree.map(
            lambda old, new: jnp.asarray(new, old.dtype), own, changed
        )
        return {**variables, "params": {**variables["params"], "router": router}}

    return contract.Learned(learned.how, value, replace)
