"""How far half precision is from float32: ours, and PyTorch's under autocast.

    error = |half - full| / |full|        2-norms over all logits, or over all gradients

Each is held to its own float32 program with the same weights and inputs; there products
are exact to float32, not TF32. The gradient is that of a fixed random combination of
the outputs by all parameters, in inference mode: the same numbers are dropped, chosen
and normalised by in every precision but for what rounding decides.

Weights are wide, so that errors show: a kernel is normal with variance 1 / fan_in, what
a signal keeps its size under, and all else normal with deviation 0.1 around 0, around 1
for scales and variances. (As most networks start, each branch adds a few per cent to
its input, and its errors hide.) VMamba's scan is chaotic with such weights: its errors
are a hundred times those it starts with.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import VariableDict

from tokenjax.benchmark import inputs, program, torch_peers, torch_programs
from tokenjax.benchmark.measure import build

FULL = "float32"
HALVES = ("bfloat16", "float16")
SPREAD = 0.1  # deviation of what is no kernel
Arrays: TypeAlias = list[np.ndarray]
# (variables, *example) -> the outputs, and the gradients if they are wanted
Answer: TypeAlias = Callable[..., tuple[jax.Array, VariableDict | None]]


@dataclasses.dataclass(frozen=True)
class Errors:
    """Relative errors of one program, by seed; no gradients where nobody asked."""

    outputs: tuple[float, ...]
    gradients: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Precision:
    """A model's errors in half precision.

    Attributes:
      model: what it is called.
      dtype: of the arithmetic.
      ours: its errors.
      peer: PyTorch's under autocast; None without a PyTorch equivalent.
      source: what that is.
      batch_size: examples.
      inputs: shapes, in words.
      device: its kind.
    """

    model: str
    dtype: str
    ours: Errors
    peer: Errors | None
    source: str
    batch_size: int
    inputs: str
    device: str

    @property
    def ratio(self) -> float | None:
        """Return our mean error of the outputs over PyTorch's."""
        if self.peer is None:
            return None
        return float(np.mean(self.ours.outputs) / np.mean(self.peer.outputs))

    @property
    def gradient_ratio(self) -> float | None:
        """Return our mean error of the gradients over PyTorch's."""
        if self.peer is None or not self.peer.gradients:
            return None
        return float(np.mean(self.ours.gradients) / np.mean(self.peer.gradients))


def measure(
    name: str,
    model_kwargs: Mapping[str, object] | None = None,
    dtype: str = "bfloat16",
    batch_size: int = 4,
    image_size: int = 0,
    seeds: int = 3,
    gradients: bool = True,
    peer: bool = True,
) -> Precision:
    """Measure a model of `tokenjax.models` by its name.

    Args:
      name: one of `models.names()`.
      model_kwargs: constructor arguments other than `dtype`.
      dtype: one of `HALVES`.
      batch_size: examples per call.
      image_size: height and width in pixels, 0 for the model's own.
      seeds: draws of weights; the inputs are drawn anew with each.
      gradients: whether to measure those too.
      peer: whether to measure PyTorch's, if there is an equivalent.

    Raises: UserError for an unknown name or argument, or a precision that PyTorch does
      not compute here.
    """
    arguments = model_kwargs or {}
    full, pixels = build(name, arguments, FULL, image_size)
    half, _ = build(name, arguments, dtype, image_size)
    examples = inputs.distinct_inputs(full, batch_size, pixels, seeds)
    compared = peer and torch_peers.has_equivalent(name, full)
    exact, rounded = make_answer(full, gradients), make_answer(half, gradients)
    found: list[list[float]] = []
    theirs: list[list[float]] = []
    source = ""
    for seed, example in enumerate(examples):
        variables = _draw(full, seed, *example)
        with jax.default_matmul_precision("highest"):
            expected = _flatten(exact(variables, *example))
        answer = _flatten(rounded(variables, *example))
        found.append(compare(answer, expected))
        if compared:
            module = torch_peers.build(name, full, variables)
            source = module.source
            theirs.append(_compare_peer(module, dtype, example, gradients))
    return Precision(
        model=name,
        dtype=dtype,
        ours=_gather(found),
        peer=_gather(theirs) if compared else None,
        source=source,
        batch_size=batch_size,
        inputs=inputs.shapes(examples[0]),
        device=jax.devices()[0].device_kind,
    )


def draw_wide(shapes: VariableDict, seed: int) -> VariableDict:
    """Draw variables of these shapes, as the module says.

    What is neither learned nor a running statistic keeps its value, so it must have
    one.
    """
    generator = np.random.default_rng(seed)

    def draw(path: tuple, leaf: jax.Array) -> jax.Array:
        if path[0].key not in ("params", "batch_stats"):
            return leaf
        name, noise = path[-1].key, generator.standard_normal(leaf.shape)
        if name == "kernel":
            return jnp.float32(noise / math.sqrt(math.prod(leaf.shape[:-1])))
        return jnp.float32((name in ("scale", "var")) + SPREAD * noise)

    return jax.tree.map_with_path(draw, shapes)


def make_answer(module: nn.Module, gradients: bool) -> Answer:
    """Return the jitted program of the first output and, if wanted, its gradients."""
    function = program.first_output(module)

    def combine(
        params: VariableDict, others: VariableDict, *example: object
    ) -> tuple[jax.Array, jax.Array]:
        outputs = function({"params": params, **others}, *example)
        return (outputs * combination(outputs.shape)).sum(), outputs

    @jax.jit
    def answer(
        variables: VariableDict, *example: object
    ) -> tuple[jax.Array, VariableDict | None]:
        if not gradients:
            return function(variables, *example), None
        others = {k: v for k, v in variables.items() if k != "params"}
        slope = jax.grad(combine, has_aux=True)
        found, outputs = slope(variables["params"], others, *example)
        return outputs, found

    return answer


@functools.cache
def combination(shape: tuple[int, ...]) -> np.ndarray:
    """Return the weights of the outputs in what is differentiated."""
    weights = np.random.default_rng(0).standard_normal(shape)
    return weights.astype(np.float32)


def compare(
    found: tuple[Arrays, Arrays], expected: tuple[Arrays, Arrays]
) -> list[float]:
    """Return the errors of the outputs and, if there are any, of the gradients."""
    pairs = zip(found, expected, strict=True)
    return [relative_error(one, other) for one, other in pairs if other]


def relative_error(found: Arrays, expected: Arrays) -> float:
    """Return |found - expected| / |expected| over all arrays, in float64."""
    difference = size = 0.0
    for one, other in zip(found, expected, strict=True):
        other = other.astype(np.float64)
        difference += float(np.square(one - other).sum())
        size += float(np.square(other).sum())
    return math.sqrt(difference / size)


def _draw(module: nn.Module, seed: int, *example: object) -> VariableDict:
    """Draw a module's variables; fixed ones are as it initialises them."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *example)
    if set(shapes) - {"params", "batch_stats"}:
        shapes = program.initialize(module, *example)
    return draw_wide(shapes, seed)


def _flatten(answer: tuple[jax.Array, VariableDict | None]) -> tuple[Arrays, Arrays]:
    outputs, gradients = jax.device_get(answer)
    return [np.asarray(outputs, np.float32)], jax.tree.leaves(gradients)


def _gather(rows: Sequence[Sequence[float]]) -> Errors:
    return Errors(*(tuple(column) for column in zip(*rows, strict=True)))


def _compare_peer(
    peer: torch_programs.Peer, dtype: str, example: Sequence[object], gradients: bool
) -> list[float]:
    """Return PyTorch's errors under autocast, by its own float32."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    call = torch_programs.answer(peer, gradients, combination)
    arguments = peer.convert(example)
    expected, found = call(FULL, *arguments), call(dtype, *arguments)
    return compare(found, expected)
