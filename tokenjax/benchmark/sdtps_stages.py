"""The stages of DeMo with SDTPS in inference, each a compiled function of its own.

    backbone                 images, cameras -> tokens; all modalities in one call
    global-local             tokens -> globals; PIFE, where the model has it
    selection                tokens, globals -> selected: similarities, scores, top-k,
                             gather, extra token
    aggregation              selected -> fused feature
    selection + aggregation  tokens, globals -> fused feature, as one program
    heads                    features -> scores: necks and classifiers
    HDM + ATMoE              tokens, globals -> fused feature of the control
    whole                    images, cameras -> feature for retrieval, without heads

All run the model's own code: what a stage leaves out is dropped by jit, what it is
given takes the place of a call. Its inputs are what the stages before it made.

Axes: batch b, tokens n (class token first), dim c, modalities m.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.module import InterceptorContext as Context
from flax.typing import VariableDict

from tokenjax.benchmark import flops, inputs, latency, program
from tokenjax.models.demo.demo_model import DeMo
from tokenjax.models.demo.sdtps import Selection, TokenSparse

BACKBONE, BOTH = "backbone", "selection + aggregation"
ByModality = Mapping[str, jax.Array]
Calls = list[tuple]
Part = TypeVar("Part", bound=DeMo)


class Backbone(DeMo):
    """Images (b, h, w, 3) by modality and cameras (b,) to tokens (b, n, c)."""

    @nn.compact
    def __call__(self, images: ByModality, cameras: jax.Array) -> ByModality:  # type: ignore[override]
        return self._tokens(dict(images), cameras, train=False)[0]


class GlobalLocal(DeMo):
    """Tokens (b, n, c) to global vectors (b, c)."""

    @nn.compact
    def __call__(self, tokens: ByModality) -> ByModality:  # type: ignore[override]
        return {
            name: self._global_local(
                name, tokens[name][:, 0], tokens[name][:, 1:].mean(1)
            )
            for name in self.modalities
        }


class Fusion(DeMo):
    """Tokens (b, n, c) and global vectors (b, c) to the fused feature."""

    @nn.compact
    def __call__(self, tokens: ByModality, globals_: ByModality) -> jax.Array:  # type: ignore[override]
        patches = {name: tokens[name][:, 1:] for name in self.modalities}
        return self._fuse(patches, dict(globals_), train=False, uniforms=None)[0]


class Heads(DeMo):
    """Features by the names of their heads to scores (b, classes)."""

    @nn.compact
    def __call__(self, features: ByModality) -> ByModality:  # type: ignore[override]
        return {name: self._score(name, x, train=False) for name, x in features.items()}


def select(
    fusion: nn.Module, variables: VariableDict, *arguments: object
) -> dict[str, Selection]:
    """Return what is selected of each modality, of (variables, tokens, globals)."""
    _, seen = fusion.apply(
        variables,
        *arguments,
        capture_intermediates=lambda module, _: isinstance(module, TokenSparse),
        mutable=["intermediates"],
    )
    found = seen["intermediates"]["sdtps"]
    return {name: calls["__call__"][0] for name, calls in found.items()}


def aggregate(
    fusion: nn.Module,
    variables: VariableDict,
    selected: Mapping[str, Selection],
    *arguments: object,
) -> jax.Array:
    """Return the fused feature (b, m c) of (variables, selected, tokens, globals).

    Tokens and globals are for the modules that expect them; nothing reads them.
    """

    def given(
        call: Callable[..., object], args: tuple, kwargs: dict, context: Context
    ) -> object:
        called = context.method_name == "__call__"  # not its checks, when it is made
        if isinstance(context.module, TokenSparse) and called:
            return selected[str(context.module.name)]
        return call(*args, **kwargs)

    with nn.intercept_methods(given):
        fused = fusion.apply(variables, *arguments)
    return cast(jax.Array, fused)


class Stage(NamedTuple):
    """A compiled function, its cost (FLOPs of the batch), and what it is called with.

    `parameters` are those it reads.
    """

    name: str
    parameters: int
    inputs: str
    flops: int
    compiled: jax.stages.Compiled
    compile_seconds: float
    calls: Calls


def make_stages(
    model: DeMo, control: DeMo | None, batch_size: int, on_made: Callable[[], object]
) -> list[Stage]:
    """Make every stage, the backbone first and the whole last.

    Args:
      model: with fusion "sdtps".
      control: the same with fusion "hdm_atm", if there is one.
      batch_size: of the inputs, of which each stage has three.
      on_made: called when a stage is compiled, for a progress bar.
    """
    examples = inputs.distinct_inputs(model, batch_size)
    maker = _Maker(model, program.initialize(model, *examples[0]), on_made)
    module, owned = maker.part(Backbone, examples[0])
    tokens = maker.add(BACKBONE, module.apply, owned, examples)
    globals_ = [{name: each[name][:, 0] for name in each} for each in tokens]
    if model.global_local:
        module, owned = maker.part(GlobalLocal, (tokens[0],))
        calls = [(each,) for each in tokens]
        globals_ = maker.add("global-local", module.apply, owned, calls)
    pairs = list(zip(tokens, globals_, strict=True))
    fused = _add_fusion(maker, pairs)
    features = [
        (_features(model, *each),) for each in zip(globals_, fused, strict=True)
    ]
    module, owned = maker.part(Heads, features[0])
    maker.add("heads", module.apply, owned, features)
    if control:
        module = _rebuild(Fusion, control)
        owned = program.initialize(module, *pairs[0])
        maker.add("HDM + ATMoE", module.apply, owned, pairs)
    maker.add("whole", program.first_output(model), maker.variables, examples)
    return maker.made


def _add_fusion(maker: "_Maker", pairs: Calls) -> list[jax.Array]:
    """Add selection, aggregation and both, of (tokens, globals); return the fused."""
    module, owned = maker.part(Fusion, pairs[0])
    halves = owned["params"]["sdtps"]

    def half(ending: str) -> dict[str, VariableDict]:
        return {k: tree for k, tree in halves.items() if k.endswith(ending)}

    chosen = functools.partial(select, module)
    selected = maker.add("selection", chosen, owned, pairs, half("_sparse"))
    fuse = functools.partial(aggregate, module)
    calls = [(each, *pair) for each, pair in zip(selected, pairs, strict=True)]
    maker.add("aggregation", fuse, owned, calls, half("_aggr"))
    return maker.add(BOTH, module.apply, owned, pairs)


@dataclasses.dataclass
class _Maker:
    """Makes stages of a model with these variables."""

    model: DeMo
    variables: VariableDict
    on_made: Callable[[], object]
    made: list[Stage] = dataclasses.field(default_factory=list)

    def part(self, kind: type[DeMo], example: tuple) -> tuple[nn.Module, VariableDict]:
        """Build a stage's module; return it with those variables that it has."""
        module = _rebuild(kind, self.model)
        shapes = jax.eval_shape(module.init, jax.random.key(0), *example)
        return module, {
            collection: {name: self.variables[collection][name] for name in tree}
            for collection, tree in shapes.items()
        }

    def add(
        self,
        name: str,
        run: Callable,
        owned: VariableDict,
        calls: Calls,
        read: VariableDict | None = None,
    ) -> list:
        """Add run(owned, *call), return what it gives; it may `read` only some."""
        calls = jax.block_until_ready([(owned, *call) for call in calls])
        compiled, seconds = latency.compile_function(run, calls[0])
        stage = Stage(
            name=name,
            parameters=program.count_parameters({"params": read} if read else owned),
            inputs=inputs.shapes(calls[0][1:]),
            flops=flops.count_flops(run, *calls[0]),
            compiled=compiled,
            compile_seconds=seconds,
            calls=calls,
        )
        self.made.append(stage)
        self.on_made()
        return jax.block_until_ready([compiled(*call) for call in calls])


def _rebuild(kind: type[Part], model: DeMo) -> Part:
    """Build a module of this kind with the arguments of the model."""
    names = {field.name for field in dataclasses.fields(model)} - {"parent", "name"}
    return kind(**{name: getattr(model, name) for name in names})


def _features(model: DeMo, globals_: ByModality, fused: jax.Array) -> ByModality:
    """Return what has a head, by its name."""
    if not model.direct:
        return {**globals_, "fused": fused}
    direct = jnp.concatenate([globals_[name] for name in model.modalities], axis=-1)
    return {"direct": direct, "fused": fused}
