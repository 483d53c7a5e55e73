"""What the routing benchmark times: the routed stage by share, and whole models.

The routed stage is `AttentionRouting.embed` at inference, without encoder and router:
patches (b, n, pixels) and a given mask (b, n) -> embeddings (b, n, d).

FLOPs of what is routed are those of the patches selected: a dispatch's padding is not
counted. Weights that are read in half precision alone are kept so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import VariableDict

from tokenjax import half_weights
from tokenjax.benchmark import flops, inputs, latency, measure, program
from tokenjax.benchmark.turns import Contestant, Label
from tokenjax.models.routing.attention_routing import AttentionRouting
from tokenjax.models.routing.routing_baselines import CheapCompute, FullCompute
from tokenjax.models.routing.routing_parts import cut_patches

BUDGET = 0.25  # share of the patches that whole models send to the big network
# A size at which an accelerator computes most of the time: a ViT-B/16's patches and the
# width of its MLPs, 43 MFLOPs a patch. At the default sizes, 1.4, all products of 256
# images take a few microseconds, less than starting them does.
LARGE = {
    "img_size": 224,
    "patch_grid": 14,
    "big_hidden_dim": 3072,
    "aggregator": "mean",
}
ROUTED = "routed"

Calls = Sequence[tuple]  # of variables and what the function takes besides
Look = Callable[..., Mapping[str, np.ndarray]]  # of a call: what its router makes


class Encoder(NamedTuple):
    """Of `AttentionRouting`; written as convolutional-64-2."""

    kind: str
    channels: int
    layers: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.channels}-{self.layers}"

    def arguments(self) -> dict[str, object]:
        """Return what the constructor of a model takes."""
        keys = ("encoder", "encoder_channels", "encoder_layers")
        return dict(zip(keys, self, strict=True))


def labels(share: float, encoder: str = "") -> dict[str, Label]:
    """Return the labels of a contestant: what it routes, and what it scores by.

    `share` is that of the patches which the big network computes.
    """
    return {"encoder": encoder, "share": share}


class RoutedStage(AttentionRouting):
    """Each patch through its own network."""

    @nn.compact
    def __call__(self, patches: jax.Array, mask: jax.Array) -> jax.Array:  # type: ignore[override]
        """Embed patches (b, n, pixels) by a mask (b, n): (b, n, d)."""
        return self.embed(self.parts(), patches, mask, train=False)


class BigStage(RoutedStage, FullCompute):
    """Every patch through the big network, whatever the mask."""


class SmallStage(RoutedStage, CheapCompute):
    """Every patch through the small network, whatever the mask."""


def routed_stage(
    arguments: Mapping[str, object],
    shares: Sequence[float],
    batch_size: int,
    dtype: str,
) -> list[Contestant]:
    """Make the big network on every patch, the small one, the stage at each share.

    Args:
      arguments: of `attention_routing`.
      shares: of the patches selected, to the nearest patch of the batch; which ones is
        random.
      batch_size: images per call.
      dtype: of the computation.

    Raises:
      UserError: arguments or a dtype that the model does not take.
    """
    model = measure.build("attention_routing", arguments, dtype, 0)[0]
    images = inputs.distinct_inputs(model, batch_size)

    @jax.jit
    def cut(images: jax.Array) -> jax.Array:
        return cut_patches(images, model.patch_grid).astype(model.dtype)

    patches = [cut(x) for (x,) in images]
    shape = patches[0].shape[:2]  # (b, n)
    rows = shape[0] * shape[1]
    random = np.random.default_rng(0)
    fields = {**arguments, "dtype": model.dtype}
    # Of one image, which is the same program whatever the batch.
    image = np.zeros((1, *patches[0].shape[1:]), model.dtype)
    mask = np.ones((1, shape[1]), np.float32)
    routing = RoutedStage(**fields)
    started = program.initialize(routing, image, mask)
    variables = half_weights.keep(routing.apply, started, image, mask)

    def calls(selected: int) -> Calls:
        places = [random.permutation(rows).reshape(shape) for _ in patches]
        masks = [jnp.asarray(place < selected, jnp.float32) for place in places]
        pairs = zip(patches, masks, strict=True)
        return jax.block_until_ready([(variables, *pair) for pair in pairs])

    def alone(name: str, stage: type[RoutedStage], share: float) -> Contestant:
        function, given = stage(**fields).apply, calls(round(share * rows))
        cost = flops.count_flops(function, *given[0]) / batch_size
        return Contestant(name, cost, _compile(function, given), given, labels(share))

    big = alone("big network alone", BigStage, 1.0)
    small = alone("small network alone", SmallStage, 0.0)
    # What is selected is known only at run time: one program serves every share.
    compiled = _compile(routing.apply, big.calls)

    def routed(selected: int) -> Contestant:
        share = selected / rows
        cost = share * big.flops + (1 - share) * small.flops
        return Contestant(ROUTED, cost, compiled, calls(selected), labels(share))

    return [big, small, *(routed(round(share * rows)) for share in shares)]


def whole_models(
    arguments: Mapping[str, object],
    encoders: Sequence[Encoder],
    batch_size: int,
    dtype: str,
) -> list[Contestant]:
    """Make full_compute without and with its encoder, cheap_compute, both routers.

    Nothing reads the encoder of a baseline, unless the aggregator weighs by score: jit
    drops it; where the scores are an output too, it stays. Baselines have the first
    encoder, routers each of them. Other arguments and errors are those of
    `routed_stage`.
    """
    contestants: list[Contestant] = []
    for encoder in encoders:
        chosen = {**arguments, **encoder.arguments(), "budget": BUDGET}

        def build(name: str, chosen: dict = chosen, **others: str) -> nn.Module:
            return measure.build(name, {**chosen, **others}, dtype, 0)[0]

        # Its parameters serve all: those that another model lacks are passed over.
        model = build("attention_routing", router="learnable_threshold")
        images = inputs.distinct_inputs(model, batch_size)
        started = program.initialize(model, *images[0])
        read = program.first_output(model)
        variables = half_weights.keep(read, started, *images[0])
        calls = jax.block_until_ready([(variables, *example) for example in images])
        if encoder == encoders[0]:
            full, cheap = build("full_compute"), build("cheap_compute")
            contestants += [
                _baseline("full_compute", full, calls, encoder),
                _baseline("full_compute", full, calls, encoder, with_scores=True),
                _baseline("cheap_compute", cheap, calls, encoder),
            ]
        top_k = build("attention_routing", router="top_k")
        contestants.append(_routing("top_k", top_k, _look(top_k), calls, encoder))
        look = _look(model)
        calls = _with_thresholds(look, calls)
        contestants.append(_routing("learnable_threshold", model, look, calls, encoder))
    return contestants


def _baseline(
    name: str,
    model: nn.Module,
    calls: Calls,
    encoder: Encoder,
    with_scores: bool = False,
) -> Contestant:
    def logits_and_scores(
        variables: VariableDict, images: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        logits, aux = model.apply(variables, images, train=False)
        return logits, aux["attention_scores"]

    function = logits_and_scores if with_scores else program.first_output(model)
    cost = flops.count_flops(function, *calls[0]) / len(calls[0][1])
    kept = with_scores or model.aggregator == "attention"  # which weighs by score
    used = str(encoder) if kept else "dropped by jit"
    share = float(name == "full_compute")
    compiled = _compile(function, calls)
    return Contestant(name, cost, compiled, calls, labels(share, used))


def _routing(
    router: str, model: nn.Module, look: Look, calls: Calls, encoder: Encoder
) -> Contestant:
    looks = [look(*call) for call in calls]
    share = float(np.mean([aux["routing_ratio"] for aux in looks]))
    return Contestant(
        name=f"attention_routing, {router}",
        flops=float(np.mean([aux["actual_flops"] for aux in looks])),
        function=_compile(program.first_output(model), calls),
        calls=calls,
        labels=labels(share, str(encoder)),
    )


def _look(model: nn.Module) -> Look:
    """Return what the router makes of a call, without the networks."""
    keys = ("attention_scores", "routing_ratio", "actual_flops")

    @jax.jit
    def look(variables: VariableDict, images: jax.Array) -> dict[str, jax.Array]:
        aux = model.apply(variables, images, train=False)[1]
        return {key: aux[key] for key in keys}

    return lambda *call: jax.device_get(look(*call))


def _with_thresholds(look: Look, calls: Calls) -> Calls:
    """Give each call the threshold that selects `BUDGET` of its patches."""
    changed = []
    for variables, images in calls:
        scores = look(variables, images)["attention_scores"]
        threshold = jnp.asarray(_quantile(scores), jnp.float32)
        router = {**variables["params"]["router"], "threshold": threshold}
        params = {**variables["params"], "router": router}
        changed.append(({**variables, "params": params}, images))
    return jax.block_until_ready(changed)


def _quantile(scores: np.ndarray) -> np.floating:
    """Return a threshold below the `BUDGET` highest scores and above the others.

    Halfway, for another compiled program may round its scores otherwise.
    """
    ordered = np.sort(scores, axis=None)[::-1]
    count = round(BUDGET * len(ordered))
    return ordered[max(count - 1, 0) : count + 1].mean()


def _compile(function: Callable[..., object], calls: Calls) -> Callable:
    return latency.compile_function(function, calls[0])[0]
