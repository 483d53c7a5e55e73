"""What the routing benchmark times: the routed stage by share, and whole models.

The routed stage is `AttentionRouting.embed` at inference, without encoder and router:
patches (b, n, pixels) and a given mask (b, n) -> embeddings (b, n, d).

FLOPs of what is routed are those of the patches selected: a dispatch's padding is not
counted.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.benchmark import flops, inputs, latency, measure
from tokenjax.benchmark.turns import Contestant
from tokenjax.models.routing import AttentionRouting
from tokenjax.models.routing_baselines import CheapCompute, FullCompute
from tokenjax.models.routing_parts import cut_patches

BUDGET = 0.25  # share of the patches that whole models send to the big network
ROUTED = "routed"
ROUTERS = ("top_k", "learnable_threshold")

Calls = list[tuple[Any, ...]]


class Encoder(NamedTuple):
    """Of `AttentionRouting`; written as convolutional-64-2."""

    kind: str
    channels: int
    layers: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.channels}-{self.layers}"

    def arguments(self) -> dict[str, Any]:
        """For the constructor of a model."""
        keys = ("encoder", "encoder_channels", "encoder_layers")
        return dict(zip(keys, self, strict=True))


class RoutedStage(AttentionRouting):
    """Each patch through its own network."""

    @nn.compact
    def __call__(self, patches: jax.Array, mask: jax.Array) -> jax.Array:  # type: ignore[override]
        """(b, n, pixels), (b, n) -> (b, n, d)."""
        return self.embed(self.parts(), patches, mask, train=False)


class BigStage(RoutedStage, FullCompute):
    """Every patch through the big network, whatever the mask."""


class SmallStage(RoutedStage, CheapCompute):
    """Every patch through the small network, whatever the mask."""


def routed_stage(
    arguments: Mapping[str, Any], shares: Sequence[float], batch_size: int, dtype: str
) -> list[Contestant]:
    """The big network on every patch, the small one, and the stage at each share.

    Args:
      arguments: of `attention_routing`.
      shares: of the patches selected, to the nearest patch of the batch; which ones is
        random.
      batch_size: images per call.
      dtype: of the computation.

    Raises:
      UserError: arguments or a dtype that the model does not take.
    """
    model: Any = measure.build("attention_routing", arguments, dtype, 0)[0]
    images = inputs.distinct_inputs(model, batch_size)
    patches = [cut_patches(x, model.patch_grid).astype(model.dtype) for (x,) in images]
    shape = patches[0].shape[:2]  # (b, n)
    rows = shape[0] * shape[1]
    random = np.random.default_rng(0)
    fields = {**arguments, "dtype": model.dtype}
    variables = _init(RoutedStage(**fields), patches[0], jnp.ones(shape))

    def calls(selected: int) -> Calls:
        places = [random.permutation(rows).reshape(shape) for _ in patches]
        masks = [jnp.asarray(place < selected, jnp.float32) for place in places]
        pairs = zip(patches, masks, strict=True)
        return jax.block_until_ready([(variables, *pair) for pair in pairs])

    def alone(name: str, stage: type[RoutedStage], share: float) -> Contestant:
        function, given = stage(**fields).apply, calls(round(share * rows))
        cost = flops.count_flops(function, *given[0]) / batch_size
        return Contestant(name, "", share, cost, _compile(function, given), given)

    big = alone("big network alone", BigStage, 1.0)
    small = alone("small network alone", SmallStage, 0.0)
    # What is selected is known only at run time: one program serves every share.
    program = _compile(RoutedStage(**fields).apply, big.calls)

    def routed(selected: int) -> Contestant:
        share = selected / rows
        cost = share * big.flops + (1 - share) * small.flops
        return Contestant(ROUTED, "", share, cost, program, calls(selected))

    return [big, small, *(routed(round(share * rows)) for share in shares)]


def whole_models(
    arguments: Mapping[str, Any],
    encoders: Sequence[Encoder],
    batch_size: int,
    dtype: str,
) -> list[Contestant]:
    """full_compute without and with its encoder, cheap_compute, and both routers.

    Nothing reads the encoder of a baseline, so that jit drops it; where the scores are
    an output too, it stays. Baselines have the first encoder, routers each of them.
    Other arguments and errors are those of `routed_stage`.
    """
    options = (arguments, batch_size, dtype)
    return [
        _baseline("full_compute", encoders[0], False, *options),
        _baseline("full_compute", encoders[0], True, *options),
        _baseline("cheap_compute", encoders[0], False, *options),
        *(
            _routing(router, encoder, *options)
            for encoder in encoders
            for router in ROUTERS
        ),
    ]


def _baseline(
    name: str,
    encoder: Encoder,
    with_encoder: bool,
    arguments: Mapping[str, Any],
    batch_size: int,
    dtype: str,
) -> Contestant:
    model, calls = _model(name, encoder, arguments, batch_size, dtype)

    def with_scores(variables: Any, images: jax.Array) -> Any:
        logits, aux = model.apply(variables, images, train=False)
        return logits, aux["attention_scores"]

    function = with_scores if with_encoder else measure.first_output(model)
    cost = flops.count_flops(function, *calls[0]) / batch_size
    used = str(encoder) if with_encoder else "dropped by jit"
    share = float(name == "full_compute")
    return Contestant(name, used, share, cost, _compile(function, calls), calls)


def _routing(
    router: str,
    encoder: Encoder,
    arguments: Mapping[str, Any],
    batch_size: int,
    dtype: str,
) -> Contestant:
    """attention_routing that sends `BUDGET` of the patches."""
    chosen = {**arguments, "router": router, "budget": BUDGET}
    model, calls = _model("attention_routing", encoder, chosen, batch_size, dtype)

    @jax.jit
    def look(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
        aux = model.apply(variables, images, train=False)[1]
        keys = ("attention_scores", "routing_ratio", "actual_flops")
        return {key: aux[key] for key in keys}

    if router == "learnable_threshold":
        scores = [np.asarray(look(*call)["attention_scores"]) for call in calls]
        calls = [
            (_with_threshold(variables, _quantile(values)), images)
            for (variables, images), values in zip(calls, scores, strict=True)
        ]
    looks = [look(*call) for call in calls]
    return Contestant(
        name=f"attention_routing, {router}",
        encoder=str(encoder),
        share=float(np.mean([aux["routing_ratio"] for aux in looks])),
        flops=float(np.mean([aux["actual_flops"] for aux in looks])),
        function=_compile(measure.first_output(model), calls),
        calls=calls,
    )


def _model(
    name: str,
    encoder: Encoder,
    arguments: Mapping[str, Any],
    batch_size: int,
    dtype: str,
) -> tuple[nn.Module, Calls]:
    """The model and its calls (variables, images)."""
    chosen = {**arguments, **encoder.arguments()}
    model = measure.build(name, chosen, dtype, 0)[0]
    images = inputs.distinct_inputs(model, batch_size)
    variables = _init(model, *images[0])
    return model, jax.block_until_ready([(variables, *example) for example in images])


def _quantile(scores: np.ndarray) -> np.floating:
    """Below the `BUDGET` highest scores, above the others.

    Halfway, for another compiled program may round its scores otherwise.
    """
    ordered = np.sort(scores, axis=None)[::-1]
    count = round(BUDGET * len(ordered))
    return ordered[max(count - 1, 0) : count + 1].mean()


def _with_threshold(variables: Any, threshold: np.floating) -> Any:
    """The variables with the router's threshold replaced."""
    params = variables["params"]
    router = {**params["router"], "threshold": jnp.asarray(threshold, jnp.float32)}
    return jax.device_put({**variables, "params": {**params, "router": router}})


def _init(module: nn.Module, *example: jax.Array) -> Any:
    key = jax.random.key(0, impl="rbg")  # compiles faster; the values do not matter
    return jax.jit(module.init)(key, *example)


def _compile(function: Callable[..., Any], calls: Sequence[tuple]) -> Callable:
    return latency.compile_function(function, calls[0])[0]
