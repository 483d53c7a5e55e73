"""Turn a PyTorch checkpoint into one that train and eval read.

    tokenjax convert --model vdpa --checkpoint weights.pth --output DIR \\
        --model.img_size=512 --model.depth=10 --model.embed_dim=512
    tokenjax train --config configs/vdpa.py:paper --config.init_from=DIR

A backbone (clip_vit, camera_vit) takes published weights as they come:

    tokenjax convert --model clip_vit --checkpoint ViT-B-16.pt --output DIR

`--model.ARGUMENT=VALUE` sets an argument of the model's constructor.
`python -m tokenjax.convert` does the same.
"""

import ast
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from tokenjax import command_line, path_flags

ARGUMENT = "model."  # what flags that set an argument of the model begin with


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is converted, and a flag for each --model.ARGUMENT in `argv`."""
    from tokenjax import models

    options: Any = {"flag_values": values, "required": True}
    flags.DEFINE_string("model", None, ", ".join(models.names()), **options)
    flags.DEFINE_string("checkpoint", None, ".safetensors, .pth or .pt", **options)
    path_flags.define("output", None, "directory to write", values, required=True)
    for argument in argv:
        name = argument.partition("=")[0].removeprefix("--")
        if argument.startswith(f"--{ARGUMENT}") and name not in values:
            text = "an argument of the model's constructor"
            flags.DEFINE_string(name, None, text, flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Read the file, convert its arrays, and write the checkpoint.

    Raises: UserError for whatever a user can mend.
    """
    import jax

    from tokenjax import convert, disk_errors, models, storage
    from tokenjax.convert.checkpoint_files import read_state_dict
    from tokenjax.convert.pretrained import is_backbone, load_pretrained

    arguments = _model_arguments(values)
    model = models.create(values.model, **arguments)
    state_dict = read_state_dict(values.checkpoint)
    if is_backbone(model):
        variables = load_pretrained(model, state_dict, jax.random.key(0))
    else:
        variables = convert.from_torch(model, state_dict)
    metadata = {"model": {"name": values.model, **arguments}}
    output = pathlib.Path(values.output)
    with disk_errors.said(output.parent):
        storage.save_variables(output, variables, metadata)
    print(f"wrote {output}: {values.model}, from {values.checkpoint}")


def _model_arguments(values: flags.FlagValues) -> dict[str, Any]:
    """Return the values of --model.ARGUMENT: Python literals, else text."""
    arguments: dict[str, Any] = {}
    for flag in values:
        if not flag.startswith(ARGUMENT):
            continue
        name, text = flag.removeprefix(ARGUMENT), values[flag].value or ""
        try:
            arguments[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            arguments[name] = text
    return arguments


if __name__ == "__main__":
    command_line.run("convert")
