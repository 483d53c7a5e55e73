"""The figures of a reproduction's report."""

import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from tokenjax import experiment, plots
from tokenjax.data import Dataset
from tokenjax.reproduction.claims import CLAIMS
from tokenjax.reproduction.findings import Findings
from tokenjax.reproduction.jobs import BALANCED, CONDITIONS, PRUNED
from tokenjax.reproduction.plan_file import Plan
from tokenjax.study.plan import StudyRun, run_config
from tokenjax.training import inference
from tokenjax.training.checkpoints import load_initial_variables
from tokenjax.training.settings import Settings
from tokenjax.training.tasks.classification import Classification

SHOWN = 8  # images of the figure of attention
FOLDER, PREFIX = "figures", "reproduce_"

Found = dict[str, str]  # a figure -> its path, as the report links it


def draw_all(
    study: ConfigDict,
    runs: Sequence[StudyRun],
    plan: Plan,
    findings: Findings,
    root: pathlib.Path,
    folder: pathlib.Path,
) -> Found:
    """Draw every figure below `folder`, the report's; return their names."""
    place = folder / FOLDER

    def path(name: str) -> pathlib.Path:
        return place / f"{PREFIX}{name}.png"

    thinned = {name: plan.counts[name] for name in (BALANCED, CONDITIONS[1])}
    drawn = {
        "classes": plots.class_counts(thinned, plan.class_names, path("classes")),
        "accuracy": plots.accuracy_bars(_bars(findings), path("accuracy"), "accuracy"),
        "curves": _curves(study, findings, path("curves")),
        "confusion": plots.confusion_matrices(
            {
                claim.title: findings.confusion(BALANCED, name)
                for name, claim in CLAIMS.items()
            },
            plan.class_names,
            path("confusion"),
        ),
        "answers": plots.confusion_matrices(
            {
                name.replace("_", " "): findings.confusion(name, "vit_base")
                for name in CONDITIONS[1:]
            },
            plan.class_names,
            path("answers"),
        ),
        "attention": draw_attention(study, runs, root, path("attention")),
    }
    return {name: f"{FOLDER}/{each.name}" for name, each in drawn.items()}


def _bars(findings: Findings) -> list[dict]:
    rows = []
    for name, claim in CLAIMS.items():
        for condition in CONDITIONS:
            values = findings.values(condition, name, "top1")
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
            rows.append(
                {
                    "dataset": claim.title,
                    "variant": condition.replace("_", " "),
                    "mean": float(np.mean(values)),
                    "std": spread,
                }
            )
    return rows


def _curves(study: ConfigDict, findings: Findings, path: pathlib.Path) -> pathlib.Path:
    """Draw validation accuracy over images, of the balanced runs."""
    batch = study.datasets[BALANCED].batch_size
    curves = {
        claim.title: [
            (images, [100 * value for value in values])
            for images, values in findings.curves(BALANCED, name, batch)
        ]
        for name, claim in CLAIMS.items()
    }
    title = "Learning curves on the balanced split"
    return plots.loss_curves(
        curves, path, "validation accuracy, %", title, xlabel="images learned from"
    )


def draw_attention(
    study: ConfigDict, runs: Sequence[StudyRun], root: pathlib.Path, path: pathlib.Path
) -> pathlib.Path:
    """Draw what the class tokens of the first seed's balanced networks attend to."""
    maps: dict[str, np.ndarray] = {}
    titles: list[str] = []
    images = np.zeros(0)
    known: Dataset | None = None
    chosen = np.zeros(0, np.int64)
    for run in runs:
        if (run.dataset, run.seed) != (BALANCED, study.seeds[0]) or not run.trains:
            continue
        settings = Settings.from_config(run_config(study, run, root))
        known = known or experiment.data.load(settings.data)
        if not titles:
            labels = known.test.gather(np.arange(len(known.test)))["label"]
            classes = range(min(SHOWN, known.info.num_classes))
            chosen = np.array([int(np.argmax(labels == each)) for each in classes])
            images = known.test.gather(chosen)["image"]
            titles = [known.info.class_names[each] for each in classes]
        task = experiment.make_task(settings, known)
        assert isinstance(task, Classification)
        weights = run.workdir(root)
        variables = load_initial_variables(weights, settings.checkpoint.evaluate)
        looks = inference.look(task.model, task.prepare, variables, jnp.asarray(images))
        title = PRUNED if run.needs else CLAIMS[run.variant].title
        maps[title] = np.asarray(jax.device_get(looks["class_attention"]))[-1]
    order = [*(claim.title for claim in CLAIMS.values()), PRUNED]
    return plots.attention_by_model(
        images, {name: maps[name] for name in order}, titles, path
    )
