"""Turn a PyTorch checkpoint into one that train and eval read.

    tokenjax convert --model vdpa --checkpoint weights.pth --output DIR
    tokenjax train --config configs/vdpa.py:paper --config.init_from=DIR

A backbone (clip_vit, camera_vit) takes published weights as they come:

    tokenjax convert --model clip_vit --checkpoint ViT-B-16.pt --output DIR

`--model.ARGUMENT=VALUE` sets an argument of the model's constructor. What the file's
shapes tell need not be given; what no file tells (heads, activation) is said.
`python -m tokenjax.convert` does the same.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from tokenjax import command_line, path_flags
from tokenjax.written_arguments import read_value

BRIEF = True
ARGUMENT = "model."  # what flags that set an argument of the model begin with


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is converted, and a flag for each --model.ARGUMENT in `argv`."""
    from tokenjax import models
    from tokenjax.models.position_embedding import METHODS

    options: Any = {"flag_values": values, "required": True}
    flags.DEFINE_string("model", None, ", ".join(models.names()), **options)
    flags.DEFINE_string(
        "checkpoint",
        None,
        "a file of weights, an index of shards, or a directory with one",
        **options,
    )
    path_flags.define("output", None, "directory to write", values, required=True)
    for name, default, choices, text in (
        (
            "head",
            "keep",
            ["keep", "new"],
            "new: draw another classifier than the file's",
        ),
        ("resize", None, list(METHODS), "how to resize positions of another grid"),
    ):
        flags.DEFINE_enum(name, default, choices, text, flag_values=values)
    for name, text in (
        ("key", "which of several states in the file: ema/shadow, or teacher."),
        ("source_grid", "ROWSxCOLUMNS of patches in the file, if they are no square"),
        ("classes", "names of the classes: cat,dog or a text file, one on a line"),
        ("mean", "of every channel, in 0..1: 0.5,0.5,0.5"),
        ("std", "of every channel: 0.5,0.5,0.5"),
        ("interpolation", "by which pictures are resized: bicubic, bilinear, ..."),
    ):
        flags.DEFINE_string(name, None, text, flag_values=values)
    flags.DEFINE_float(
        "crop",
        None,
        "share of a picture's shorter side that is kept",
        flag_values=values,
    )
    for argument in argv:
        name = argument.partition("=")[0].removeprefix("--")
        if argument.startswith(f"--{ARGUMENT}") and name not in values:
            text = "an argument of the model's constructor"
            flags.DEFINE_string(name, None, text, flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Read the file, convert its arrays, and write the checkpoint.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax import card, disk_errors, storage
    from tokenjax.convert import command, facts

    converted = command.convert(
        values.model,
        values.checkpoint,
        _model_arguments(values),
        source_grid=facts.read_grid(values.source_grid),
        method=values.resize,
        head=values.head,
        preprocessing=facts.Preprocessing(
            facts.read_classes(values.classes),
            facts.read_numbers(values.mean, "mean"),
            facts.read_numbers(values.std, "std"),
            values.crop,
            values.interpolation,
        ),
        key=values.key,
    )
    for line in converted.lines:
        print(line)
    output = pathlib.Path(values.output)
    with disk_errors.said(output.parent):
        metadata = converted.facts.as_metadata()
        beside = {card.FILE: converted.card.to_json()}
        storage.save_variables(output, converted.variables, metadata, beside)
    print(f"wrote {output}: {values.model}, from {values.checkpoint}")


def _model_arguments(values: flags.FlagValues) -> dict[str, Any]:
    """Return the values of --model.ARGUMENT: Python literals, else text."""
    arguments: dict[str, Any] = {}
    for flag in values:
        if not flag.startswith(ARGUMENT):
            continue
        text = values[flag].value or ""
        arguments[flag.removeprefix(ARGUMENT)] = read_value(text)
    return arguments


if __name__ == "__main__":
    command_line.run("convert")
