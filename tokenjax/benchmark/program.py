"""A model compiled for one batch, ready to be timed: inference or a training step.

Inference runs up to the model's first output: its logits, or the feature that retrieval
searches by. Whatever only feeds the others, such as attention maps to look at, is
dropped inside the jitted function, so that neither the compiler nor the FLOP count
keeps it.

A training step is whole: forward pass with dropout and noise, mean cross entropy of
every score plus the model's auxiliary losses, gradients, AdamW; its state is donated.
Tokens without a classifier have no such step.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.typing import VariableDict

from tokenjax.benchmark import flops, inputs, latency, memory
from tokenjax.benchmark.weights import initialize as initialize
from tokenjax.errors import UserError

Calls = Sequence[tuple]  # arguments of a function, to be taken in turn
LEARNING_RATE, WEIGHT_DECAY = 1e-4, 0.05  # numbers alone; they cost nothing


@dataclasses.dataclass
class Program:
    """What `latency` times.

    Attributes:
      parameters: trained numbers.
      flops: of one call, 2 per multiply-add.
      inputs: shapes, in words.
      image_size: height and width of the images among them, None where there are none.
      compiled: by XLA; its plan of memory can be asked for.
      compile_seconds: to trace, lower and compile.
      function: one call, to be waited for; a training step keeps its own state.
      calls: arguments for it, to be taken in turn.
      variables: of the model, as it was initialised.
      examples: what the model is called with, to be taken in turn.
    """

    parameters: int
    flops: int
    inputs: str
    image_size: tuple[int, int] | None
    compiled: jax.stages.Compiled
    compile_seconds: float
    function: Callable[..., object]
    calls: Calls
    variables: VariableDict
    examples: Calls


def inference(
    module: nn.Module, batch_size: int, image_size: int = 0, like: Program | None = None
) -> Program:
    """Compile a module, which has `example_inputs(batch_size)`, to its first output.

    Of `like` the inputs are used again, and the weights if the module takes them.
    """
    variables, examples = _start(module, batch_size, image_size, like)
    calls = [(variables, *example) for example in examples]
    function = first_output(module)
    compiled, seconds = _compile(function, calls[0])
    return Program(
        parameters=count_parameters(variables),
        flops=flops.count_flops(function, *calls[0]),
        inputs=inputs.shapes(examples[0]),
        image_size=inputs.image_size(examples[0]),
        compiled=compiled,
        compile_seconds=seconds,
        function=compiled,
        calls=calls,
        variables=variables,
        examples=examples,
    )


def training(
    module: nn.Module, batch_size: int, image_size: int = 0, like: Program | None = None
) -> Program:
    """Compile a training step of a model that `check_trainable` takes.

    `like` is used as in `inference`.
    """
    variables, examples = _start(module, batch_size, image_size, like)
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    params = variables["params"]
    others = {name: value for name, value in variables.items() if name != "params"}

    def step(state: _State, *example: object) -> _State:
        params, others, moments, number = state
        gradients, others = jax.grad(_loss(module, others, number), has_aux=True)(
            params, *example
        )
        updates, moments = optimizer.update(gradients, moments, params)
        return optax.apply_updates(params, updates), others, moments, number + 1

    moments = jax.jit(optimizer.init)(params)
    state: _State = (params, others, moments, jnp.zeros((), jnp.int32))
    state = jax.tree.map(jnp.copy, state)  # the step donates it
    counted = flops.count_flops(step, state, *examples[0])
    compiled, seconds = _compile(step, (state, *examples[0]), donate=True)
    return Program(
        parameters=count_parameters(variables),
        flops=counted,
        inputs=inputs.shapes(examples[0]),
        image_size=inputs.image_size(examples[0]),
        compiled=compiled,
        compile_seconds=seconds,
        function=_Stepper(compiled, state),
        calls=examples,
        variables=variables,
        examples=examples,
    )


def check_trainable(name: str, module: nn.Module) -> None:
    """Refuse a model that gives no scores to learn from.

    Raises: UserError.
    """
    outputs, _ = jax.eval_shape(
        module.init_with_output, jax.random.key(0), *module.example_inputs(1)
    )
    if isinstance(outputs, dict):
        trainable = "scores" in outputs
    else:
        trainable = getattr(outputs[0], "ndim", 0) == 2  # (b, classes)
    if not trainable:
        raise UserError(f"--train: {name} has no classifier whose loss could be taken")


# Parameters, the other variables, the optimiser's moments, the number of the step.
_State = tuple[optax.Params, VariableDict, optax.OptState, jax.Array]


class _Stepper:
    """Calls a compiled step over and over, each on the state that the last one left."""

    def __init__(self, compiled: jax.stages.Compiled, state: _State):
        self.compiled, self.state = compiled, state

    def __call__(self, *example: object) -> _State:
        self.state = self.compiled(self.state, *example)
        return self.state


def _start(
    module: nn.Module, batch_size: int, image_size: int, like: Program | None
) -> tuple[VariableDict, Calls]:
    if like is None:
        examples: Calls = inputs.distinct_inputs(module, batch_size, image_size)
        return initialize(module, *examples[0]), jax.block_until_ready(examples)
    examples = like.examples
    needed = jax.eval_shape(module.init, jax.random.key(0), *examples[0])
    if jax.tree.map(jnp.shape, needed) == jax.tree.map(jnp.shape, like.variables):
        return like.variables, examples
    return initialize(module, *examples[0]), examples


def _compile(
    function: Callable[..., object], arguments: tuple, donate: bool = False
) -> tuple[jax.stages.Compiled, float]:
    """Compile a function for its arguments; also return the seconds that it took.

    Raises: OutOfMemory for a program that a CPU's memory cannot hold.
    """
    compiled, seconds = latency.compile_function(function, arguments, donate)
    memory.check_fits(compiled, jax.devices()[0])
    return compiled, seconds


def _loss(
    module: nn.Module, others: VariableDict, number: jax.Array
) -> Callable[..., tuple[jax.Array, VariableDict]]:
    """Return the function (params, *inputs) -> (loss, the new other variables)."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(0), number), 2)

    def loss(params: optax.Params, *example: object) -> tuple[jax.Array, VariableDict]:
        outputs, changed = module.apply(
            {"params": params, **others},
            *example,
            train=True,
            rngs={"dropout": keys[0], "gumbel": keys[1]},
            mutable=list(others),
        )
        if isinstance(outputs, Mapping):
            scores = list(outputs["scores"].values())
            auxiliary = outputs["aux"]["losses"]
        else:
            scores, auxiliary = [outputs[0]], outputs[1]["losses"]
        total = sum(jax.tree.leaves(auxiliary), start=jnp.zeros(()))
        for each in scores:
            labels = jnp.arange(len(each)) % each.shape[-1]  # (b,)
            entropy = optax.softmax_cross_entropy_with_integer_labels
            total += entropy(each.astype(jnp.float32), labels).mean()
        return total, changed

    return loss


def first_output(module: nn.Module) -> Callable[..., jax.Array]:
    """Return the function (variables, *inputs) -> the model's first output.

    It runs in inference. Of a model for retrieval, which returns a dict, the first
    output is the feature to search by.
    """

    def function(variables: VariableDict, *arguments: object) -> jax.Array:
        outputs = module.apply(variables, *arguments, train=False)
        if isinstance(outputs, dict):
            return outputs["features"]["concat"]
        return outputs[0] if isinstance(outputs, tuple) else outputs

    return function


def count_parameters(variables: VariableDict) -> int:
    """Count the trained numbers: those of the collection "params"."""
    leaves = jax.tree.leaves(variables.get("params", {}))
    return sum(int(leaf.size) for leaf in leaves)
