"""One row of the benchmark: what one model costs at one batch size and precision.

Measured is inference up to the model's first output: its logits, or the feature that
retrieval searches by. Whatever only feeds the others, such as attention maps to look
at, is dropped inside the jitted function, so that neither the compiler nor the FLOP
count keeps it.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tokenjax import models
from tokenjax.benchmark import flops, inputs, latency, memory
from tokenjax.errors import UserError, unknown_name

DTYPES = ("float32", "bfloat16")
SDTPS = "sdtps"  # a module within `demo` and no model of its own


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement; FLOPs and latency are those of the whole batch.

    `inputs` are the shapes of the arguments, batch included; `device` is its kind.
    """

    model: str
    parameters: int
    batch_size: int
    inputs: str
    flops: int
    latency: latency.Latency
    memory: memory.Memory
    dtype: str
    device: str

    @property
    def images_per_second(self) -> float:
        """Batch size over median latency."""
        return self.batch_size / self.latency.median


def names() -> list[str]:
    """Every name that `build` knows."""
    return sorted([*models.names(), SDTPS])


def build(
    name: str, model_kwargs: Mapping[str, Any], dtype: str, image_size: int
) -> tuple[nn.Module, int]:
    """The model, and the image size left to the inputs (0 where the model knows it).

    Raises:
      UserError: an unknown model, argument or dtype.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if "dtype" in model_kwargs:
        raise UserError("dtype is given by --dtype, not as an argument of the model")
    if name not in names():
        raise UserError(unknown_name("model", name, names()))
    if name == SDTPS:
        model: Any = build("demo", model_kwargs, dtype, image_size)[0]
        return model.make_sdtps(), 0
    valid = models.argument_names(name)
    arguments = {"dtype": getattr(jnp, dtype)} if "dtype" in valid else {}
    if image_size and "img_size" in valid:
        arguments["img_size"], image_size = image_size, 0
    elif image_size and "image_size" in valid:
        arguments["image_size"], image_size = (image_size, image_size), 0
    model = models.create(name, **{**arguments, **model_kwargs})
    if image_size:
        _check_image_size(model, name, image_size)
    return model, image_size


def _check_image_size(model: nn.Module, name: str, image_size: int) -> None:
    """Raises: UserError unless the model takes images of this size."""
    example = inputs.distinct_inputs(model, 1, image_size, count=1)[0]
    try:
        jax.eval_shape(model.init, jax.random.key(0), *example)
    except ValueError as error:
        raise UserError(f"--image_size {image_size}, {name}: {error}") from error


def measure_model(
    name: str,
    model_kwargs: Mapping[str, Any] | None = None,
    batch_size: int = 1,
    dtype: str = "float32",
    image_size: int = 0,
    timing: latency.Timing | None = None,
) -> Row:
    """Measures a model of `tokenjax.models` by its name.

    Args:
      name: one of `models.names()`.
      model_kwargs: constructor arguments other than `dtype`.
      batch_size: examples per call.
      dtype: computation dtype, "float32" or "bfloat16"; parameters stay float32.
      image_size: height and width in pixels, 0 for the model's own. Given to the
        constructor as `img_size` where it has one, otherwise to the inputs alone.
      timing: warm-up and repeats.

    Raises:
      UserError: an unknown name or argument, or a batch too big for the device.
    """
    module, image_size = build(name, model_kwargs or {}, dtype, image_size)
    return measure_module(module, name, batch_size, dtype, image_size, timing)


def measure_module(
    module: nn.Module,
    label: str,
    batch_size: int,
    dtype: str = "float32",
    image_size: int = 0,
    timing: latency.Timing | None = None,
) -> Row:
    """Measures a module that has `example_inputs(batch_size)`; see `measure_model`.

    `label` and `dtype` go into the row as they are.
    """
    with fitting(label, batch_size):
        return _measure(
            module, label, batch_size, dtype, image_size, timing or latency.Timing()
        )


@contextlib.contextmanager
def fitting(label: str, batch_size: int) -> Iterator[None]:
    """Raises: UserError for a batch that does not fit into the device's memory."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(
            f"{label} with batch size {batch_size} does not fit into the memory of "
            f"{jax.devices()[0].device_kind}: use a smaller --batch_size"
        ) from error


def _measure(
    module: nn.Module,
    label: str,
    batch_size: int,
    dtype: str,
    image_size: int,
    timing: latency.Timing,
) -> Row:
    device = jax.devices()[0]
    examples = inputs.distinct_inputs(module, batch_size, image_size)
    key = jax.random.key(0, impl="rbg")  # compiles faster; the values do not matter
    variables = jax.jit(module.init)(key, *examples[0])
    arguments = [(variables, *example) for example in examples]
    jax.block_until_ready(arguments)
    function = first_output(module)
    compiled, compile_seconds = latency.compile_function(function, arguments[0])
    peak_before = memory.device_peak(device)
    seconds = latency.time_calls(compiled, arguments, timing)
    return Row(
        model=label,
        parameters=count_parameters(variables),
        batch_size=batch_size,
        inputs=inputs.shapes(examples[0]),
        flops=flops.count_flops(function, *arguments[0]),
        latency=latency.summarize(seconds, compile_seconds),
        memory=memory.peak_memory(compiled, device, peak_before),
        dtype=dtype,
        device=device.device_kind,
    )


def first_output(module: nn.Module) -> Callable[..., Any]:
    """(variables, *inputs) -> the model's first output, in inference.

    Of a model for retrieval, which returns a dict, that is the feature to search by.
    """

    def function(variables: Any, *arguments: Any) -> Any:
        outputs = module.apply(variables, *arguments, train=False)
        if isinstance(outputs, dict):
            return outputs["features"]["concat"]
        return outputs[0] if isinstance(outputs, tuple) else outputs

    return function


def count_parameters(variables: Mapping[str, Any]) -> int:
    """Trained numbers: those of the collection "params"."""
    leaves = jax.tree.leaves(variables.get("params", {}))
    return sum(int(leaf.size) for leaf in leaves)
