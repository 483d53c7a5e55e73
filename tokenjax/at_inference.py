"""Which of a model's arguments act at inference, on weights that are there.

An argument acts if the program up to the model's first output is another with another
value of it. It says nothing of weights that are there where trained parameters stand
for it (`contract.LearnsArguments`): those can be replaced. That another value makes
sense is said by the argument's own mark, `arguments.AT_INFERENCE`.
"""

import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import flax.linen as nn
import jax

from tokenjax import models
from tokenjax.arguments import Argument
from tokenjax.benchmark.program import first_output
from tokenjax.errors import UserError
from tokenjax.models import contract


def learned_arguments(model: contract.Model) -> Mapping[str, contract.Learned]:
    """Return what stands for arguments that only say where parameters start."""
    if isinstance(model, contract.LearnsArguments):
        return model.learned_arguments()
    return {}


def write_program(model: Any) -> str:
    """Return what a model computes up to its first output: equal texts, equal work."""
    inputs = model.example_inputs(1)
    variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    return jax.jit(first_output(model)).lower(variables, *inputs).as_text()


def list_acting(name: str, model: nn.Module) -> list[str]:
    """Return the arguments that a sweep can vary, of a model as it is configured.

    Args:
      name: of the model, in the registry.
      model: the network.
    """
    own, learned = write_program(model), learned_arguments(model)
    return [
        argument.name
        for argument in models.arguments(name).values()
        if argument.at_inference
        and (
            argument.name in learned
            or any(write_program(other) != own for other in _others(model, argument))
        )
    ]


def _others(model: nn.Module, argument: Argument) -> Iterator[nn.Module]:
    """Yield the network with other values of an argument, where one is taken."""
    for value in _other_values(argument, getattr(model, argument.name)):
        try:
            yield model.clone(**{argument.name: value})
        except UserError:  # it does not fit, alone or with the others
            continue


def _other_values(argument: Argument, value: Any) -> list[Any]:
    """Return one value well below and one well above, or every other choice."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [type(value)(value / 2), type(value)(2 * value)]
    if typing.get_origin(argument.type) is Literal:
        return [each for each in typing.get_args(argument.type) if each != value]
    return []
