"""Evaluates a run or a converted checkpoint on a split.

    python eval.py --config configs/vdpa.py                      # the default workdir
    python eval.py --config configs/vdpa.py --workdir runs/mine --split validation
    python eval.py --config configs/vdpa.py:paper --checkpoint converted/
    python eval.py --config configs/routing.py --eval_all        # a table of four runs

Writes evaluation.json and figures/ (evaluation-<split>.json and figures-<split>/ for
another split than test) into the workdir, or into the checkpoint's directory.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from tokenjax import command_line

CONFIG = config_flags.DEFINE_config_file("config", None, "configs/NAME.py[:variant]")
WORKDIR = flags.DEFINE_string("workdir", "", "default: runs/<config name>-<variant>")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "", "a converted checkpoint or another workdir, read instead"
)
SPLIT = flags.DEFINE_string("split", "test", "train, validation or test")
ALL = flags.DEFINE_bool(
    "eval_all", False, "all runs that config.compare names; --workdir holds them (runs)"
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "of --eval_all's latencies", 1)
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
    """Raises: UserError for whatever a user can mend."""
    from tokenjax import experiment

    command_line.enable_compilation_cache()
    name, variant = command_line.config_name_and_variant(CONFIG)
    if ALL.value:
        from tokenjax.study.compare import evaluate_all

        runs = pathlib.Path(WORKDIR.value or "runs")
        output = evaluate_all(
            CONFIG.value, name, variant, runs, SPLIT.value, BATCH_SIZE.value
        )
        print((output / "table.md").read_text())
        print(f"{output}: table.md, results.json and figures")
        return
    source = pathlib.Path(CHECKPOINT.value or WORKDIR.value or f"runs/{name}-{variant}")
    output = pathlib.Path(WORKDIR.value) if WORKDIR.value else source
    summary = experiment.evaluate(CONFIG.value, source, SPLIT.value, output)
    lines = experiment.headline(CONFIG.value, summary)
    command_line.print_summary(lines, summary["split"], output)


if __name__ == "__main__":
    command_line.run(main)
