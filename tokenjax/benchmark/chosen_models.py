"""The models that flags name, each with the arguments that it is measured with.

    --models 'vdpa(embed_dim=512,num_heads=8),resnet50' --set num_classes=2

What stands in brackets is of one model, --set is for all. A row is called what was
written, so that one model may be there twice, with other arguments.
"""

from collections.abc import Mapping, Sequence

from absl import flags

from tokenjax import models
from tokenjax.benchmark import measure
from tokenjax.benchmark.session import Options
from tokenjax.errors import BadFlagError, UserError
from tokenjax.written_arguments import (
    WrittenModel,
    read_arguments,
    read_model,
    split_list,
)

Chosen = Mapping[str, WrittenModel]  # by what the rows are called
SET, MODEL, MODELS = "--set", "--model", "--models"


class ListParser(flags.ArgumentParser):
    """Splits a flag's value at the commas outside brackets and quotes."""

    syntactic_help = "a list with commas between its items"

    def __init__(self, flag: str):
        self._flag = flag

    def parse(self, argument: str | Sequence[str]) -> list[str]:
        """Return the items as they are written.

        Raises: BadFlagError.
        """
        if not isinstance(argument, str):
            return list(argument)
        try:
            return split_list(argument, f"--{self._flag}") if argument else []
        except UserError as error:
            raise BadFlagError(str(error)) from error

    def flag_type(self) -> str:
        return "list"


def define_list(name: str, meaning: str, values: flags.FlagValues) -> None:
    """Define a flag that holds a list whose items may have commas in brackets."""
    parser, serializer = ListParser(name), flags.ListSerializer[str](",")
    flags.DEFINE(parser, name, [], meaning, values, serializer)


def choose(options: Options) -> dict[str, WrittenModel]:
    """Return the models of --model and --models by their rows' names, with --set's.

    After "sdtps" comes the model that it is within, with the same arguments.

    Raises:
      UserError: no model, one that is written wrongly or twice, or arguments of --set
        that do not go with those of one model, or that only some models have.
    """
    shared = read_arguments(options["set"], SET)
    written = _written(options)
    if not written:
        valid = measure.names()
        raise UserError(f"name a model: --model {valid[0]}. Valid: {', '.join(valid)}")
    _check_shared(written, shared)
    chosen: dict[str, WrittenModel] = {}
    for model in written:
        arguments = {**shared, **model.arguments}
        whole = WrittenModel(model.name, arguments)
        _check_new(model.label, whole, chosen)
        chosen[model.label] = whole
    for label, model in list(chosen.items()):
        if model.name == measure.SDTPS:
            chosen = _with_its_model(label, model, chosen)
    return chosen


def _written(options: Options) -> list[WrittenModel]:
    """Read both flags; --model may also be among --models, where it counts once."""
    first = [read_model(options["model"], MODEL)] if options["model"] else []
    others = [read_model(text, MODELS) for text in options["models"]]
    return [*first, *(model for model in others if model not in first)]


def _check_shared(
    written: Sequence[WrittenModel], shared: Mapping[str, object]
) -> None:
    """Refuse what is for all and does not suit all, where it suits some.

    Raises: UserError.
    """
    for key, value in shared.items():
        for model in written:
            if model.arguments.get(key, value) != value:
                raise UserError(
                    f"unequal arguments in {MODELS}: {SET} gives {key}={value!r} to "
                    f"all, {model.label} has its own; leave one of them out"
                )
        have = [m for m in written if key in measure.argument_names(m.name)]
        lack = [m.name for m in written if m not in have]
        if have and lack:
            own = {**have[0].arguments, key: value}
            raise UserError(
                f"unequal arguments in {MODELS}: {SET} gives {key} to all, and "
                f"{', '.join(dict.fromkeys(lack))} has no such argument; write it to "
                f"those that have, as {WrittenModel(have[0].name, own).label}"
            )


def _check_new(label: str, model: WrittenModel, chosen: Chosen) -> None:
    """Refuse a model that is there with the same arguments.

    Raises: UserError.
    """
    for other, known in chosen.items():
        same = models.canonical_name(model.name) == models.canonical_name(known.name)
        if same and model.arguments == known.arguments:
            what = "is there twice" if label == other else f"is what {other} is"
            raise UserError(
                f"{MODELS}: {label} {what}; leave one out, or give it other arguments"
            )


def _with_its_model(
    label: str, module: WrittenModel, chosen: Chosen
) -> dict[str, WrittenModel]:
    """Put DeMo after its module, unless it is there already."""
    model = WrittenModel(measure.SDTPS_MODEL, module.arguments)
    name = label.replace(measure.SDTPS, measure.SDTPS_MODEL, 1)
    found: dict[str, WrittenModel] = {}
    for each, value in chosen.items():
        found[each] = value
        if each == label:
            found[name] = model
    return found
