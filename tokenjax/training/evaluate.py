"""A split through a task's `predict`: every example once, padding taken out."""

import functools
import hashlib
import pathlib
import re
from collections.abc import Iterator

import jax
import numpy as np
from flax.typing import VariableDict
from jax.sharding import Mesh

from tokenjax import plots, storage
from tokenjax.data import Split, evaluation_batches, prefetch
from tokenjax.errors import UserError
from tokenjax.models import contract
from tokenjax.training.distribution import devices
from tokenjax.training.state import Batch
from tokenjax.training.tasks.task import Outputs, Predict, Summary, Task

LONGEST_NAME = 160  # of what an evaluation is of, in the names of its files


def device_batches(split: Split, batch_size: int, mesh: Mesh) -> Iterator[Batch]:
    """Yield the split in order on the devices, a few ahead; "mask" marks padding."""
    sharding = devices.split_by_rows(mesh)
    rows = devices.own_rows(sharding, batch_size)
    place = functools.partial(
        devices.put_batch, sharding=sharding, batch_size=batch_size
    )
    return prefetch(evaluation_batches(split, batch_size, rows), 2, place)


def run_split(
    predict: Predict,
    variables: VariableDict,
    split: Split,
    batch_size: int,
    mesh: Mesh,
) -> Outputs:
    """Return outputs (examples, ...) of a whole split by name.

    Raises: UserError for an empty split.
    """
    if not len(split):
        raise UserError("the split to evaluate holds no examples")
    pending = [predict(variables, b) for b in device_batches(split, batch_size, mesh)]
    batches = jax.device_get(pending)
    return {
        key: np.concatenate([batch[key][batch["mask"]] for batch in batches])
        for key in batches[0]
        if key != "mask"
    }


def final_evaluation(
    task: Task,
    variables: VariableDict,
    split_name: str,
    split: Split,
    batch_size: int,
    mesh: Mesh,
    workdir: pathlib.Path,
    draw: bool = True,
    of: str = "",
    predictions: pathlib.Path | None = None,
    **about: str | int | None,
) -> Summary:
    """Evaluate a split, write evaluation.json and the figures, return the summary.

    Beside it, for a task that has one, the text report evaluation.txt. A split other
    than "test" goes to evaluation-<split>.json and figures-<split>/, one of other data
    than the run's own to evaluation-<of>[-<split>].json, `of` being its name. What was
    found of every example goes to the file `predictions`, if given. With several
    processes the first one writes, the others return less.
    """
    predict = task.compile_predict(mesh, scores=predictions is not None)
    outputs = run_split(predict, variables, split, batch_size, mesh)
    report = task.summarize(outputs)
    for name, other in task.other_conditions().items():
        predict = other.compile_predict(mesh)
        found = run_split(predict, variables, split, batch_size, mesh)
        report.setdefault("conditions", {})[name] = other.scalars(found)
    summary: Summary = {"split": split_name, **about, **report}
    if of:
        summary["of"] = of
    own = devices.own_mesh()
    variables = devices.on_own_devices(variables, mesh, own)
    if jax.process_index() > 0:  # looking and drawing are for one process
        return summary
    batches = device_batches(split, batch_size // jax.process_count(), own)
    with jax.set_mesh(own):
        looks = task.inspect(variables, batches, split)
    summary["model"] = plots.average_blocks(looks)
    if arguments := _found_arguments(task, variables):
        summary["found"] = arguments
    suffix = report_suffix(split_name, of)
    storage.write_json(workdir / f"evaluation{suffix}.json", summary)
    if text := task.text_report(summary):
        storage.write_text(workdir / f"evaluation{suffix}.txt", text)
    if predictions is not None:
        task.write_predictions(predictions, outputs, split)
    if draw:
        figures = workdir / f"figures{suffix}"
        figures.mkdir(parents=True, exist_ok=True)
        task.figures(figures, report, looks, outputs, split)
    return summary


def _found_arguments(task: Task, variables: VariableDict) -> dict[str, object]:
    """Return the arguments that training searched for, by name."""
    if not isinstance(task.model, contract.FindsArguments):
        return {}
    return dict(task.model.found_arguments(jax.device_get(variables)))


def report_suffix(split_name: str, of: str = "") -> str:
    """Return what the names of an evaluation's files end in, see `final_evaluation`."""
    parts = [_shorten(re.sub(r"[^\w.-]+", "_", of))] if of else []
    parts += [] if split_name == "test" else [split_name]
    return "".join(f"-{part}" for part in parts)


def _shorten(name: str) -> str:
    """Return a name that a file may have, with a digest where its end is cut off.

    The tokens of every block of a deep network are more than the 255 bytes of a name.
    """
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9]}-{digest}"
