"""The stages of DeMo with SDTPS in inference, each a function of its own.

    tokens    = backbone(images, cameras)                   three modalities in one call
    globals   = global-local(tokens)                        PIFE, if the model has it
    selected  = selection(tokens, globals)    similarities, scores, top-k, gather, extra
    fused     = aggregation(selected)         and the means
    fused     = selection + aggregation(tokens, globals)    both as one program
    scores    = heads(features)               necks and classifiers
    fused     = HDM + ATMoE(tokens, globals)  of the model with this control's fusion
    concat    = whole(images, cameras)        without the heads

Each works on the model's own code: what a stage does not need is not there, or is given
and dropped by jit. Its inputs are what the stages before it made.

Axes: batch b, tokens n (class token first), dim c, modalities m.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from tokenjax.benchmark import flops, inputs, latency, measure, memory, turns
from tokenjax.models.demo import DeMo
from tokenjax.models.sdtps import Selection, TokenSparse

BACKBONE, BOTH = "backbone", "selection + aggregation"
ByModality = Mapping[str, jax.Array]
Calls = list[tuple[Any, ...]]


class Backbone(DeMo):
    """Images (b, h, w, 3) by modality and cameras (b,) to tokens (b, n, c)."""

    @nn.compact
    def __call__(self, images: ByModality, cameras: jax.Array) -> ByModality:  # type: ignore[override]
        return self._tokens({m: images[m] for m in self.modalities}, cameras, False)


class GlobalLocal(DeMo):
    """Tokens (b, n, c) to global vectors (b, c)."""

    @nn.compact
    def __call__(self, tokens: ByModality) -> ByModality:  # type: ignore[override]
        return {
            name: self._global_local(name, value[:, 0], value[:, 1:])
            for name, value in tokens.items()
        }


class Fusion(DeMo):
    """Tokens (b, n, c) and global vectors (b, c) to the fused feature."""

    @nn.compact
    def __call__(self, tokens: ByModality, globals_: ByModality) -> jax.Array:  # type: ignore[override]
        patches = {name: value[:, 1:] for name, value in tokens.items()}
        return self._fuse(patches, dict(globals_), False, None)[0]


class Heads(DeMo):
    """Features by the names of their heads to scores (b, classes)."""

    @nn.compact
    def __call__(self, features: ByModality) -> ByModality:  # type: ignore[override]
        return {name: self._score(name, x, False) for name, x in features.items()}


def select(fusion: Fusion, *arguments: Any) -> dict[str, Selection]:
    """(variables, tokens, globals) to what each modality selects."""
    _, seen = fusion.apply(
        *arguments,
        capture_intermediates=lambda module, _: isinstance(module, TokenSparse),
        mutable=["intermediates"],
    )
    found = seen["intermediates"]["sdtps"]
    return {m: found[f"{m}_sparse"]["__call__"][0] for m in fusion.modalities}


def aggregate(
    fusion: Fusion, variables: Any, selected: Mapping[str, Selection], *arguments: Any
) -> jax.Array:
    """(variables, selected, tokens, globals) to the fused feature (b, m c).

    Of tokens and globals nothing but the shapes is used.
    """

    def given(call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, TokenSparse):
            return selected[context.module.name.removesuffix("_sparse")]
        return call(*args, **kwargs)

    with nn.intercept_methods(given):
        return fusion.apply(variables, *arguments)


class Stage(NamedTuple):
    """A compiled function, what it takes, and what it costs (FLOPs of the batch)."""

    name: str
    parameters: int
    flops: int
    inputs: str
    compile_seconds: float
    memory: memory.Memory
    function: Callable[..., Any]
    calls: Calls

    def contestant(self, batch_size: int) -> turns.Contestant:
        """To be timed in turns with other stages."""
        cost = self.flops / batch_size
        return turns.Contestant(self.name, "", 1.0, cost, self.function, self.calls)


def make_stages(model: DeMo, control: DeMo, batch_size: int) -> list[Stage]:
    """Every stage, the backbone first.

    Args:
      model: with fusion "sdtps".
      control: the same with fusion "hdm_atm".
      batch_size: of the inputs, of which each stage gets three.
    """
    examples = inputs.distinct_inputs(model, batch_size)
    variables = _init(model, examples[0])
    sdtps = Fusion(**_fields(model))
    whole = _stage("whole", model, measure.first_output(model), variables, examples)
    backbone = _stage(
        BACKBONE, Backbone(**_fields(model)), None, variables, examples
    )
    tokens = _outputs(backbone)
    stages = [backbone]
    if model.global_local:
        module = GlobalLocal(**_fields(model))
        given = [(each,) for each in tokens]
        stages.append(_stage("global-local", module, None, variables, given))
        globals_ = _outputs(stages[-1])
    else:
        globals_ = [{m: x[m][:, 0] for m in model.modalities} for x in tokens]
    pairs = list(zip(tokens, globals_, strict=True))
    selection = _stage(
        "selection", sdtps, functools.partial(select, sdtps), variables, pairs
    )
    triples = [
        (chosen, *pair) for chosen, pair in zip(_outputs(selection), pairs, strict=True)
    ]
    aggregation = functools.partial(aggregate, sdtps)
    stages += [
        selection,
        _stage("aggregation", sdtps, aggregation, variables, triples),
        _stage(BOTH, sdtps, None, variables, pairs),
    ]
    return [*stages, *_others(model, control, variables, pairs), whole]
