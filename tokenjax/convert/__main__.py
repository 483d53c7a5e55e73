<<<<<<< HEAD
"""Turn a PyTorch checkpoint into one that train.py and eval.py read.
=======
"""`python -m tokenjax.convert`: see `tokenjax.commands.convert`."""
>>>>>>> cli

import runpy

<<<<<<< HEAD
A backbone (clip_vit, camera_vit) takes published weights as they come:

    python -m tokenjax.convert --model clip_vit --checkpoint ViT-B-16.pt --output DIR
"""

import argparse
import ast
import pathlib
import sys
from typing import Any, NoReturn

import jax

from tokenjax import disk_errors, models, storage
from tokenjax.convert import from_torch
from tokenjax.convert.checkpoint_files import read_state_dict
from tokenjax.convert.pretrained import is_backbone, load_pretrained
from tokenjax.errors import UserError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def main(arguments: list[str]) -> None:
    """Convert the checkpoint that the command line names.

    Raises: UserError for whatever a user can mend.
    """
    parser = _Parser(
        prog="python -m tokenjax.convert",
        description="PyTorch checkpoint -> tokenjax checkpoint",
        epilog="--model.ARGUMENT=VALUE sets an argument of the model's constructor",
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, help=", ".join(models.names()))
    parser.add_argument("--checkpoint", required=True, help=".safetensors, .pth, .pt")
    parser.add_argument("--output", required=True, help="directory to write")
    known, rest = parser.parse_known_args(arguments)
    model_arguments = _model_arguments(rest)
    model = models.create(known.model, **model_arguments)
    state_dict = read_state_dict(known.checkpoint)
    if is_backbone(model):
        variables = load_pretrained(model, state_dict, jax.random.key(0))
    else:
        variables = from_torch(model, state_dict)
    metadata = {"model": {"name": known.model, **model_arguments}}
    output = pathlib.Path(known.output)
    with disk_errors.said(output.parent):
        storage.save_variables(output, variables, metadata)
    print(f"wrote {output}: {known.model}, from {known.checkpoint}")


def _model_arguments(rest: list[str]) -> dict[str, Any]:
    """Parse --model.depth=10 or --model.depth 10; Python literals or strings."""
    arguments = {}
    tokens = iter(rest)
    for token in tokens:
        if not token.startswith("--model."):
            raise UserError(f"unknown argument {token!r}; see --help")
        name, separator, text = token.removeprefix("--model.").partition("=")
        value = text if separator else next(tokens, None)
        if value is None:
            raise UserError(f"{token} needs a value")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            arguments[name] = value
    return arguments


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
=======
runpy.run_module("tokenjax.commands.convert", run_name="__main__")
>>>>>>> cli
