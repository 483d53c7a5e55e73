"""Programs for a platform that is not here: traced and lowered, no more.

    traced = trace_model(module, inputs.describe_inputs(module, 64), train=True)
    lowered = lower(traced, "tpu")

Variables, optimiser and images are shapes; no array is made, nothing compiled. A
program is traced once and lowered for each platform, so that what CUDA or a TPU has no
translation of shows on a CPU: a primitive or a kernel without a rule there, and a call
of something that only another platform has. `jax.export` would let the last one pass,
LAPACK's for example, and refuse cuDNN's.
"""

import itertools
from collections.abc import Iterator

import flax.linen as nn
import jax
from jax.extend.mlir import ir

from tokenjax.benchmark import program
from tokenjax.errors import first_line

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
CUSTOM_CALL = "stablehlo.custom_call"
# What names of custom calls begin with: those of sharding and of StableHLO anywhere,
# and each platform's own: cuDNN, cuBLAS, cuSOLVER, Pallas and callbacks to Python.
_ANYWHERE = (
    *("Sharding", "SPMD", "annotate_device_placement", "AllocateBuffer", "stablehlo."),
    *("mhlo.", "shape_assertion", "ApproxTopK"),
)
_OWN = {
    "cuda": (
        *("__cudnn$", "__cublas$", "__gpu$", "mosaic_gpu", "triton_kernel_call", "cu"),
        *("xla_ffi_python_gpu_callback", "xla_python_gpu_callback"),
    ),
    "rocm": (
        *("__gpu$", "triton_kernel_call", "hip", "MIOpen"),
        *("xla_ffi_python_gpu_callback", "xla_python_gpu_callback"),
    ),
    "tpu": (
        *("tpu_custom_call", "Eigh", "LuDecomposition", "Qr"),
        "ProductOfElementaryHouseholderReflectors",
    ),
}


class CannotLower(Exception):
    """A program that a platform has no translation of."""


def trace_model(
    module: nn.Module, example: tuple, train: bool = False
) -> jax.stages.Traced:
    """Trace a model's inference, or its training step, as `program` has them.

    `example` may be arrays or `jax.ShapeDtypeStruct`s.
    """
    variables = jax.eval_shape(module.init, jax.random.key(0), *example)
    if not train:
        return jax.jit(program.first_output(module)).trace(variables, *example)
    state = jax.eval_shape(program.first_state, variables)
    step = program.training_step(module)
    return jax.jit(step, donate_argnums=0).trace(state, *example)


def lower(traced: jax.stages.Traced, *platforms: str) -> ir.Module:
    """Return the program for one of PLATFORMS, in StableHLO.

    Given several, it is one program that asks where it runs, made in half the time.

    Raises: CannotLower.
    """
    where = " and ".join(platforms)
    try:
        lowered = traced.lower(lowering_platforms=platforms)
    except Exception as error:  # whatever a kernel's translation raises
        line = first_line(error)
        raise CannotLower(f"cannot be lowered for {where}: {line}") from error
    module = lowered.compiler_ir("stablehlo")
    foreign = [
        target
        for target in custom_calls(module)
        if not any(_has(platform, target) for platform in platforms)
    ]
    if foreign:
        calls = ", ".join(dict.fromkeys(foreign))
        raise CannotLower(f"calls what {where} does not have: {calls}")
    return module


def custom_calls(module: ir.Module) -> list[str]:
    """Return the targets of a program's custom calls."""
    return [
        call_target(operation)
        for operation in walk(module.operation)
        if operation.name == CUSTOM_CALL
    ]


def call_target(operation: ir.Operation) -> str:
    """Return what a custom call calls."""
    return ir.StringAttr(operation.attributes["call_target_name"]).value


def walk(operation: ir.Operation) -> Iterator[ir.Operation]:
    """Yield an operation of MLIR and all that are within it."""
    yield operation
    for inner in itertools.chain.from_iterable(map(operations_of, operation.regions)):
        yield from walk(inner)


def operations_of(region: ir.Region) -> Iterator[ir.Operation]:
    """Yield the operations that stand in a region itself."""
    for block in region:
        for each in block:
            yield each.operation


def _has(platform: str, target: str) -> bool:
    if platform == "cpu":  # what is not here is not compiled here either
        return True
    return target.startswith((*_ANYWHERE, *_OWN[platform]))
