"""What the runs of a reproduction found, read from their directories."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from tokenjax import storage
from tokenjax.study import runner
from tokenjax.study.metrics import METRICS, Summary
from tokenjax.study.plan import StudyRun
from tokenjax.training.observation.metric_log import METRICS as LOG


class Findings:
    """The evaluations and logs of all runs, by condition, model and seed."""

    def __init__(self, study: ConfigDict, runs: Sequence[StudyRun], root: pathlib.Path):
        self.conditions = list(study.datasets)
        self.seeds = list(study.seeds)
        self.workdirs = {
            (run.dataset, run.variant, run.seed): run.workdir(root) for run in runs
        }
        self._summaries: dict[tuple[str, str, int], Summary] = {
            key: storage.read_json(workdir / runner.DONE)
            for key, workdir in self.workdirs.items()
        }

    def values(self, condition: str, model: str, metric: str) -> np.ndarray:
        """Return a metric of every seed (seeds,), NaN where it is not measured."""
        found = [
            METRICS[metric].value(self._summaries[condition, model, seed])
            for seed in self.seeds
        ]
        return np.array([np.nan if value is None else value for value in found])

    def confusion(self, condition: str, model: str) -> np.ndarray:
        """Return the confusion matrices of all seeds, added (classes, classes)."""
        matrices = [
            self._summaries[condition, model, seed]["confusion_matrix"]
            for seed in self.seeds
        ]
        return np.sum(matrices, axis=0)

    def recalls(self, condition: str, model: str) -> np.ndarray:
        """Return each class's recall, over all seeds (classes,)."""
        matrix = self.confusion(condition, model)
        return np.diag(matrix) / np.maximum(matrix.sum(axis=1), 1)

    def examples(self) -> int:
        """Return how many images the test split has."""
        return int(next(iter(self._summaries.values()))["examples"])

    def curves(
        self, condition: str, model: str, batch_size: int
    ) -> list[tuple[list[float], list[float]]]:
        """Return for every seed the images seen and the validation accuracies."""
        found = []
        for seed in self.seeds:
            path = self.workdirs[condition, model, seed] / LOG
            rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
            points = {
                row["step"] * batch_size: row["validation/top1"]
                for row in rows
                if row.get("validation/top1") is not None
            }
            found.append((list(points), list(points.values())))
        return found

    def minutes(self) -> float:
        """Return the wall time of all runs, those at the same time added."""
        paths = [workdir / runner.SECONDS for workdir in self.workdirs.values()]
        return sum(storage.read_json(path)["seconds"] for path in paths) / 60
