"""A reproduction that is done, as files."""

import pytest
from helpers import reproduced_runs

from tokenjax.reproduction import jobs
from tokenjax.reproduction.findings import Findings
from tokenjax.reproduction.material import Material


@pytest.fixture
def make_material(tmp_path):
    """make_material(accuracy, seeds, data) -> all that the report is written from."""

    def make(accuracy, seeds=(0, 1, 2), data="fashion_mnist"):
        study = jobs.load_study(data, list(seeds))
        reproduced_runs.write_runs(study, tmp_path, accuracy)
        runs = jobs.list_runs(study)
        return Material(
            study,
            runs,
            reproduced_runs.make_plan(list(seeds), data),
            Findings(study, runs, tmp_path),
            reproduced_runs.make_costs(),
            dict.fromkeys(FIGURES, "figures/x.png"),
        )

    return make


FIGURES = ("classes", "accuracy", "curves", "confusion", "answers", "attention")
