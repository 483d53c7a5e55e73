"""Evaluate a run or a converted checkpoint on a split.

    tokenjax eval --workdir runs/mine                 # on its own test images
    tokenjax eval --workdir runs/mine --split validation --config.data.directory=OTHER
    tokenjax eval --config configs/vdpa.py            # the default workdir
    tokenjax eval --config configs/vdpa.py:paper --checkpoint converted/
    tokenjax eval --workdir runs/mine --config.model.pruning=none --changes=pruning
    tokenjax eval --workdir runs/mine --predictions out.csv
    tokenjax eval --workdir runs/mine --reduction tome:r=8       # fewer tokens
    tokenjax eval --workdir runs/mine --sweep reduction=none,tome:r=4,tome:r=8
    tokenjax eval --workdir runs/mine --sweep threshold=0.1:0.9:9   # or budget=0.1,0.2
    tokenjax eval --config configs/routing.py --eval_all      # a table of four runs

A run and a converted checkpoint say themselves what their network is, how images are
prepared and what the classes are called; what is given besides must agree. Other data
may be named: its classes are matched by name.

--sweep evaluates the same weights over the values of an argument that acts at
inference: a table of accuracy, FLOPs and latency, sweep-<argument>.json and .csv, and a
figure.

Writes evaluation.json and figures/ (evaluation-<split>.json and figures-<split>/ for
another split than test, with the data's name for other data than the run's own) into
the workdir, or into the checkpoint's directory. In a checkout `python eval.py` does
the same.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from tokenjax import command_line, path_flags
from tokenjax.errors import UserError

BRIEF = True


def complete_arguments(argv: Sequence[str]) -> list[str]:
    """Return the command line, with the configuration of the run that it names."""
    return command_line.config_of_directory(argv, "checkpoint", "workdir")


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is evaluated, and on what."""
    command_line.define_config(argv, values)
    command_line.define_workdir(values)
    options: Any = {"flag_values": values}
    text = "a converted checkpoint or another workdir, read instead"
    path_flags.define("checkpoint", "", text, values)
    flags.DEFINE_string("split", "test", "train, validation or test", **options)
    text = "write FILE.csv, FILE.json or FILE.npz with what was found of every image"
    path_flags.define("predictions", "", text, values)
    flags.DEFINE_bool(
        *("eval_all", False, "all runs of config.compare; --workdir holds them (runs)"),
        **options,
    )
    flags.DEFINE_list(
        "changes",
        [],
        "arguments of the model that are meant to be others than the run's",
        **options,
    )
    text = "of the model's tokens, in place of the run's own: tome:r=8, none"
    flags.DEFINE_string("reduction", "", text, **options)
    text = "over NAME=FIRST:LAST:COUNT or NAME=VALUE,VALUE,... of the model's arguments"
    flags.DEFINE_multi_string("sweep", [], text, **options)
    text = "images at a time in the latencies of --eval_all and --sweep"
    flags.DEFINE_integer("batch_size", 64, text, 1, **options)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Evaluate, and print what came out.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax import experiment

    command_line.enable_compilation_cache()
    name, variant = command_line.config_name_and_variant(values)
    if values.reduction and (values.eval_all or values.sweep):
        way = "its own configurations" if values.eval_all else "--sweep reduction=..."
        raise UserError(f"--reduction is of one evaluation: take {way}")
    if values.sweep and (values.eval_all or values.predictions):
        other = "eval_all" if values.eval_all else "predictions"
        raise UserError(f"--sweep evaluates one run over and over: not with --{other}")
    if values.eval_all:
        if values.predictions:
            raise UserError("--predictions is of one run: not with --eval_all")
        from tokenjax.study.compare import evaluate_all

        runs = pathlib.Path(values.workdir or "runs")
        output = evaluate_all(
            values.config, name, variant, runs, values.split, values.batch_size
        )
        print((output / "table.md").read_text(encoding="utf-8"))
        print(f"{output}: table.md, results.json and figures")
        return
    workdir = values.workdir
    source = pathlib.Path(values.checkpoint or workdir or f"runs/{name}-{variant}")
    output = pathlib.Path(workdir) if workdir else source
    if values.sweep:
        from tokenjax.study.sweep import sweep

        lines, files = sweep(
            *(values.config, source, values.split, output, values.sweep),
            *(values.batch_size, values.changes),
        )
        print("\n".join([*lines, "", f"written: {', '.join(map(str, files))}"]))
        return
    predictions = pathlib.Path(values.predictions) if values.predictions else None
    summary = experiment.evaluate(
        values.config,
        source,
        values.split,
        output,
        values.changes,
        predictions,
        values.reduction,
    )
    lines = experiment.headline(values.config, summary)
    of = summary.get("of", "")
    command_line.print_summary(lines, values.split, output, of)


if __name__ == "__main__":
    command_line.run("eval")
