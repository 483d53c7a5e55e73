"""Complexity analysis: what models cost and, where that is known, what they reach.

    python -m tokenjax.benchmark.analyze
    python -m tokenjax.benchmark.analyze --models 'dynamic_vit(embed_dim=384),vit' \
        --csv out.csv
    python -m tokenjax.benchmark.analyze --models vit --set depth=4 \
        --evaluations vit=runs/vit/evaluation.json --figure trade.png
    python -m tokenjax.benchmark.analyze --workdirs vit=runs/vit,vdpa=runs/vdpa-default

A table of parameters, their size, GFLOPs, GMACs, latency and throughput; without names
of the four models that CIFAR-ViT's own table compares. With top-1 of evaluations also a
figure of accuracy over latency. A run's directory brings its model, with the arguments
and image size that it was trained with, and its evaluation. Where accuracies are of
different data the table says which, and each data has its figure.

FLOPs are those of the program that runs: tokens dropped by then are not counted.
"""

import collections
import json
import pathlib
import runpy
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import flax.linen as nn
from absl import flags

from tokenjax import card as cards
from tokenjax import models, path_flags, provenance, storage
from tokenjax.benchmark import (
    command_line,
    cores,
    doubts,
    evaluated_data,
    latency,
    measure,
    session,
    table,
)
from tokenjax.benchmark.chosen_models import Chosen, choose, define_list
from tokenjax.benchmark.evaluated_data import Evaluated, read_evaluated
from tokenjax.benchmark.session import Options
from tokenjax.errors import UserError, unknown_name
from tokenjax.tables import Column

if TYPE_CHECKING:
    from tokenjax.data.dataset import DatasetInfo

# The four of the original's table: 32 pixels in patches of 4, its settings' sizes. It
# counts and times DynamicViT without pruning, whose predictors nothing asks.
ORIGINALS = (
    "cifar_vit_base",
    "cifar_vit_small",
    "dynamic_vit(embed_dim=384,num_heads=6,predictor=linear,pruning=none)",
    "lightweight_vit",
)
FIGURE = "accuracy_over_latency.png"
GIGA = ("GFLOPs", "GMACs")
OTHER_DATA = (
    "The accuracies are of different data and not to be compared across it: see Data."
)
NOTE = "Size: float32 parameters, 10^6 bytes."
SIZE: Column[measure.Row] = Column(
    "Size(MB)", lambda row: row.parameters and 4 * row.parameters / 1e6, ".2f"
)
OF_MODELS = ("image_size", "dtype", "set", "evaluations")  # flags without use for runs


class Subject(NamedTuple):
    """A model to measure, and its top-1 as a fraction if it is known.

    `image_size` is 0 where the model knows it; `origin` is a note on where it is from,
    `data` what top-1 was measured on.
    """

    module: nn.Module
    dtype: str
    image_size: int = 0
    top1: float | None = None
    origin: str = ""
    data: Evaluated | None = None


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define bench.py's flags and this command's own."""
    command_line.define_flags(values)
    define_list("evaluations", "Of --models: vit=runs/vit/evaluation.json,...", values)
    flags.DEFINE_list(
        "workdirs",
        [],
        "Runs to measure as trained: vit=runs/vit,...",
        flag_values=values,
    )
    text = f"Default: {FIGURE}, beside the CSV or here."
    path_flags.define("figure", None, text, values)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Measure what the flags ask for, print the table and draw the figure.

    Raises: UserError for whatever does not fit, before any measuring.
    """
    command_line.check_no_arguments(argv)
    options = values.flag_values_dict()
    command_line.check_file("csv", options["csv"])
    if len(options["dtype"]) > 1:
        raise UserError("--dtype takes one here; bench.py takes several")
    cores.bind(options["threads"])
    directories = command_line.parse_pairs("workdirs", options["workdirs"])
    subjects = {}
    if options["model"] or options["models"]:
        subjects = named_models(options)
    elif not directories:
        subjects = named_models({**options, "models": ORIGINALS})
    else:
        _refuse_for_runs(values)
    for name in directories:
        if name in subjects:
            raise UserError(f"{name!r} is both in --models and in --workdirs")
    subjects |= trained_models(directories)
    figure = _figure_path(options, subjects)
    columns = make_columns(subjects)

    def measure_one(
        request: session.Request, timing: latency.Timing
    ) -> list[measure.Row]:
        module, dtype, image_size, *_ = subjects[request.name]
        row = measure.measure_module(
            module, request.name, request.batch_size, dtype, image_size, timing
        )
        return [row]

    wanted = command_line.by_batch_size(list(subjects), options)
    rows = session.measure_all(wanted, measure_one, options, columns)
    origins = [subject.origin for subject in subjects.values() if subject.origin]
    notes = [NOTE, *([f"Accuracy: {'; '.join(origins)}."] if origins else [])]
    if len(different_data(subjects)) > 1:
        notes.append(OTHER_DATA)
    print(table.format_table(rows, options["warmup"], columns, notes))
    if figure is not None:
        draw_all(rows, subjects, figure)


def named_models(options: Options) -> dict[str, Subject]:
    """Build the models of --models with their --evaluations.

    Raises:
      UserError: a model that is unknown or does not take the arguments, or an
        evaluation that is of none of them or cannot be read.
    """
    chosen = choose(options)
    files = _evaluations(options, chosen)
    dtype = options["dtype"][0]
    subjects = {}
    for label, (name, arguments) in chosen.items():
        module, size = measure.build(name, arguments, dtype, options["image_size"])
        for doubt in doubts.of_model(label, module):
            print(f"note: {doubt}", file=sys.stderr, flush=True)
        path = files.get(label)
        top1, seen = read_top1(pathlib.Path(path)) if path else (None, None)
        origin = f"{label} {path}" if path else ""
        subjects[label] = Subject(module, dtype, size, top1, origin, seen)
    return subjects


def _evaluations(options: Options, chosen: Chosen) -> dict[str, str]:
    """Return the files of --evaluations by what the models' rows are called.

    A model that is there once may be called by its name alone.

    Raises: UserError.
    """
    names = collections.Counter(model.name for model in chosen.values())
    once = {model.name: label for label, model in chosen.items()}
    known = {name: label for name, label in once.items() if names[name] == 1}
    known |= {label: label for label in chosen}
    found: dict[str, str] = {}
    given = command_line.parse_pairs("evaluations", options["evaluations"])
    for name, path in given.items():
        if name not in known:
            raise UserError(f"--evaluations: {unknown_name('model', name, known)}")
        if known[name] in found:
            raise UserError(f"--evaluations names {known[name]!r} twice")
        found[known[name]] = path
    return found


def trained_models(directories: Mapping[str, str]) -> dict[str, Subject]:
    """Build the models of runs, as their cards have them, with their evaluations.

    Of a run of before cards its config.json and its data tell.

    Raises:
      UserError: a directory that is no finished run's, or a configuration that does not
        build a model.
    """
    subjects = {}
    known: dict[str, DatasetInfo] = {}  # the data of several runs is read once
    for name, directory in directories.items():
        card = cards.read(pathlib.Path(directory))
        if card is not None:
            module = provenance.create_model(card)
            model_name, dtype = card.model["name"], card.model.get("dtype", "float32")
        else:
            module, model_name, dtype = _of_configuration(directory, known)
        top1, seen = read_top1(pathlib.Path(directory, "evaluation.json"))
        origin = f"{name} (model {model_name}) {directory}/evaluation.json"
        subjects[name] = Subject(module, dtype, 0, top1, origin, seen)
    return subjects


def _of_configuration(
    directory: str, known: dict[str, "DatasetInfo"]
) -> tuple[nn.Module, str, str]:
    """Return a run's model, its name and type, from config.json and the data.

    Raises: UserError for a configuration that does not build a model.
    """
    config = storage.read_json(pathlib.Path(directory, "config.json"))
    try:
        model_config, data_config = dict(config["model"]), dict(config["data"])
        model_name = model_config["name"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{directory}/config.json is no run's configuration: it needs "
            "'model' with a 'name', and 'data'"
        ) from error
    models.argument_names(model_name)  # a mistake here is said before data is read
    from tokenjax import data, experiment  # training, which the rest does without

    key = json.dumps(data_config, sort_keys=True)
    if key not in known:
        known[key] = data.load(data_config).info
    module = experiment.create_model(model_config, known[key])
    return module, model_name, str(model_config.get("dtype", "float32"))


def read_top1(path: pathlib.Path) -> tuple[float, Evaluated]:
    """Read top-1 of an evaluation.json, a fraction, and what it was measured on.

    Raises:
      UserError: the file is missing, damaged, or has no top-1.
    """
    evaluation = storage.read_json(path)
    top1 = evaluation.get("top1") if isinstance(evaluation, dict) else None
    if not isinstance(top1, int | float) or not 0 <= top1 <= 1:
        raise UserError(f"{path} is no evaluation: it needs 'top1' within 0..1")
    return float(top1), read_evaluated(path, evaluation)


def different_data(subjects: Mapping[str, Subject]) -> dict[str, list[str]]:
    """Return the names of those with an accuracy, by what that was measured on."""
    seen = {name: each.data for name, each in subjects.items() if each.data is not None}
    groups = evaluated_data.group(seen)
    return dict(zip(evaluated_data.labels(groups, seen), groups, strict=True))


def make_columns(subjects: Mapping[str, Subject]) -> list[Column[measure.Row]]:
    """Return the table's columns; accuracy only where some is known."""
    name, parameters, *costs = table.chosen_columns(
        "Model",
        "Params(M)",
        "Batch",
        "GFLOPs",
        "GMACs",
        "Latency_mean(ms)",
        "Latency_std(ms)",
        "Latency_median(ms)",
        "Images/s",
    )
    # Small models have a few MFLOPs: four digits, however small.
    costs = [c._replace(form="#.4g") if c.heading in GIGA else c for c in costs]
    columns = [name, parameters, SIZE, *costs]
    if any(subject.top1 is not None for subject in subjects.values()):

        def percent(row: measure.Row) -> float | None:
            top1 = subjects[row.model].top1
            return None if top1 is None else 100 * top1

        columns.append(Column("Top-1(%)", percent, ".2f"))
    by_data = different_data(subjects)
    if len(by_data) > 1:
        of = {name: label for label, names in by_data.items() for name in names}
        columns.append(Column("Data", lambda row: of.get(row.model), "s"))
    return columns + table.chosen_columns("Dtype", "Device")


def draw_all(
    rows: Sequence[measure.Row], subjects: Mapping[str, Subject], path: pathlib.Path
) -> None:
    """Draw a figure of those evaluated on the same data, and say where each is."""
    by_data = different_data(subjects)
    for number, (label, names) in enumerate(by_data.items(), start=1):
        chosen = [row for row in rows if row.model in names]
        place, about = path, ""
        if len(by_data) > 1:
            place, about = path.with_stem(f"{path.stem}_{number}"), label
        if draw(chosen, subjects, place, about):
            print(f"{place} shows accuracy over latency" + (about and f" on {about}"))
        else:
            print(f"{place} is not drawn: no latency of {', '.join(names)}")


def draw(
    rows: Sequence[measure.Row],
    subjects: Mapping[str, Subject],
    path: pathlib.Path,
    about: str = "",
) -> bool:
    """Draw the figure, of the first batch size; return whether there is one to draw.

    `about` says which data it is of.
    """
    from tokenjax import plots  # matplotlib, needed at the end alone

    measured = [row for row in rows if row.latency]
    if not measured:
        return False
    batch_size = measured[0].batch_size
    points = [
        {
            "name": row.model,
            "accuracy": subjects[row.model].top1,
            "latency_ms": 1e3 * row.latency.median,  # a busy moment moves means
            "latency_std_ms": row.latency.std and 1e3 * row.latency.std,
            "parameters": row.parameters,
        }
        for row in measured
        if row.batch_size == batch_size and row.latency
    ]
    images = "1 image" if batch_size == 1 else f"{batch_size} images"
    label = f"latency of {images} (ms, median ± std) on {measured[0].device}"
    plots.accuracy_over_latency(points, path, f"{label}\n{about}" if about else label)
    return True


def _refuse_for_runs(values: flags.FlagValues) -> None:
    for flag in OF_MODELS:
        if values[flag].present:
            raise UserError(
                f"--{flag} is for --models; a run is measured as it was trained"
            )


def _figure_path(
    options: Options, subjects: Mapping[str, Subject]
) -> pathlib.Path | None:
    """Return where the figure goes, None where there is nothing to draw.

    Raises:
      UserError: a figure is asked for and there is none, or it cannot be written.
    """
    given = options["figure"]
    if all(subject.top1 is None for subject in subjects.values()):
        if given:
            raise UserError("--figure needs accuracies: --evaluations or --workdirs")
        return None
    path = pathlib.Path(given or pathlib.Path(options["csv"] or FIGURE).parent / FIGURE)
    if path.suffix != ".png":
        raise UserError(f"--figure {path} must end in .png")
    command_line.check_file("figure", str(path))
    return path


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.analyze", run_name="__main__")
