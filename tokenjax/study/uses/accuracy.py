"""Accuracies of a study's uses: every seed's weights on the same test images.

What is measured is kept as it is found, so the same call goes on where it was cut.
Weights used as they were trained are not evaluated again: their run did when it ended.
"""

import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from tokenjax import experiment, storage
from tokenjax.data import Dataset, Split
from tokenjax.errors import UserError
from tokenjax.study.runner import DONE
from tokenjax.study.uses.plan import FOLDER, Use, use_config, weights_of
from tokenjax.training.checkpoints import load_initial_variables
from tokenjax.training.distribution import devices
from tokenjax.training.evaluate import run_split
from tokenjax.training.initialize import check_variables
from tokenjax.training.settings import Settings
from tokenjax.training.tasks.classification import Classification

FILE = "accuracy.json"  # in FOLDER: key of a use and seed -> what was found
Found = dict[str, dict[str, Any]]


def measure(study: ConfigDict, uses: list[Use], root: pathlib.Path) -> Found:
    """Evaluate what is not known yet; return and keep accuracies by `key_of`.

    Raises: UserError for a run without weights, or weights that do not fit a use.
    """
    path = root / FOLDER / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    known: Found = storage.read_json(path) if path.exists() else {}
    datasets: dict[str, Dataset] = {}
    for use in (bar := tqdm(uses, desc="accuracy", unit="use")):
        missing = [seed for seed in use.seeds if _is_missing(known, use, seed)]
        if not use.model:
            for seed in missing:
                known[key_of(use, seed)] = use.about() | _of_its_run(use, seed, root)
            storage.write_json(path, known)
            continue
        if not missing:
            continue
        bar.set_description(use.name)
        settings = Settings.from_config(use_config(study, use, root))
        task, split = prepare(use, settings, datasets)
        mesh = devices.make_mesh(settings)
        predict = task.compile_predict(mesh)
        expected = jax.eval_shape(task.init, jax.random.key(0))
        for seed in missing:
            directory = weights_of(use, seed, root)
            variables = load_initial_variables(directory, settings.checkpoint.evaluate)
            check_variables(expected, variables)
            variables = jax.device_put(variables, devices.replicated(mesh))
            outputs = run_split(predict, variables, split, settings.batch_size, mesh)
            top1 = float(task.scalars(outputs)["top1"])
            about = use.about() | {"images": len(split)}
            known[key_of(use, seed)] = about | {"top1": top1}
            storage.write_json(path, known)
    return known


def key_of(use: Use, seed: int) -> str:
    """Return where a use's accuracy with a seed's weights is kept."""
    return f"{use.key}/{seed}"


def prepare(
    use: Use, settings: Settings, datasets: dict[str, Dataset]
) -> tuple[Classification, Split]:
    """Return the task of a use and its test split; `datasets` keeps what is loaded.

    Raises: UserError if it is no classifier's.
    """
    key = repr(sorted(settings.data.items()))
    if key not in datasets:
        datasets[key] = experiment.data.load(settings.data)
    task = experiment.make_task(settings, datasets[key])
    if not isinstance(task, Classification):
        raise UserError(f"uses: {use.name}: task {settings.task} is no classifier's")
    return task, datasets[key].test


def _of_its_run(use: Use, seed: int, root: pathlib.Path) -> dict[str, Any]:
    """Return what a run found of its own weights.

    Raises: UserError for a run that is not finished, or no classifier's.
    """
    path = weights_of(use, seed, root) / DONE
    if not path.exists():
        raise UserError(f"uses: {use.name}: {path.parent} is not finished")
    found = storage.read_json(path)
    if "top1" not in found:
        raise UserError(f"uses: {use.name}: {path} holds no classifier's evaluation")
    return {"top1": found["top1"], "images": found["examples"]}


def _is_missing(known: Found, use: Use, seed: int) -> bool:
    """Return whether an accuracy is not known, or of another use of that name."""
    found = known.get(key_of(use, seed), {})
    return any(found.get(key) != value for key, value in use.about().items())
