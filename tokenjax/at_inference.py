"""Which of a model's arguments act at inference, on weights that are there.

An argument acts if, with another value of it, the network's first output is another. It
says nothing of weights that are there where trained parameters stand for it
(`contract.LearnsArguments`): those can be replaced. One that is not of weights changes
no output but how it is computed: it acts if the program is another. That another value
makes sense is said by the argument's own mark, `arguments.AT_INFERENCE`.
"""

import functools
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import jax
import numpy as np
from flax.typing import VariableDict

from tokenjax import models
from tokenjax.arguments import Argument
from tokenjax.benchmark.inputs import distinct_inputs
from tokenjax.benchmark.program import first_output
from tokenjax.errors import UserError
from tokenjax.models import contract

IMAGES = 2  # that outputs are compared on
# What runs once need not be compiled well.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def learned_arguments(model: contract.Model) -> Mapping[str, contract.Learned]:
    """Return what stands for arguments that only say where parameters start."""
    if isinstance(model, contract.LearnsArguments):
        return model.learned_arguments()
    return {}


class Inference:
    """What a network computes with its weights, up to its first output."""

    def __init__(self, model: Any, variables: VariableDict):
        self.model, self.variables = model, variables
        (self._inputs,) = distinct_inputs(model, IMAGES, count=1)

    @functools.cached_property
    def _lowered(self) -> jax.stages.Lowered:
        function = jax.jit(first_output(self.model), compiler_options=QUICK)
        return function.lower(self.variables, *self._inputs)

    @functools.cached_property
    def program(self) -> str:
        """The program as text: equal texts, equal work."""
        return self._lowered.as_text()

    @functools.cached_property
    def output(self) -> np.ndarray:
        """The first output for a few random images."""
        return np.asarray(self._lowered.compile()(self.variables, *self._inputs))

    def differs(self, other: "Inference", argument: Argument) -> bool:
        """Return whether an argument, in which another differs, makes a difference."""
        if self.program == other.program:
            return False
        if not argument.of_weights:
            return True
        return not np.array_equal(self.output, other.output)

    def acts(self, argument: Argument, values: Iterable[Any] = ()) -> bool:
        """Return whether these values of an argument, or some others, change it."""
        return any(
            self.differs(Inference(other, self.variables), argument)
            for other in _others(self.model, argument, values)
        )


def list_acting(name: str, inference: Inference) -> list[str]:
    """Return the arguments that a sweep can vary, of a network as it is configured.

    `name` is the model's, in the registry.
    """
    learned = learned_arguments(inference.model)
    return [
        argument.name
        for argument in models.arguments(name).values()
        if argument.at_inference
        and (argument.name in learned or inference.acts(argument))
    ]


def _others(model: Any, argument: Argument, values: Iterable[Any]) -> Iterator[Any]:
    """Yield the network with other values of an argument, where one is taken."""
    own = getattr(model, argument.name)
    for value in (*values, *_other_values(argument, own)):
        try:
            if value != own:
                yield model.clone(**{argument.name: value})
        except UserError:  # it does not fit, alone or with the others
            continue


def _other_values(argument: Argument, value: Any) -> list[Any]:
    """Return values well below and well above, or every other choice."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [type(value)(value / 2), 2 * value or 1]
    if typing.get_origin(argument.type) is Literal:
        return list(typing.get_args(argument.type))
    return []
