"""DiffRate's search, from the command line to the counts that it found."""

import json
import re

import flax.traverse_util
import numpy as np
import pytest
from helpers import training_runs

from tokenjax.training.checkpoints import load_weights

pytestmark = pytest.mark.long
ARGUMENTS = [
    *("--config.init_from=", "--config.init_changes=()", "--config.figures=False"),
    *("--config.data.image_size=16", "--config.steps=6", "--config.log_every_steps=2"),
    *("--config.model.embed_dim=16", "--config.model.depth=3"),
    "--config.model.reduction=diffrate:search=True,target_gflops=1e-4,flops_weight=1e9",
]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("searched") / "run"
    finished = training_runs.run(
        *("train.py", "--config", "configs/reduce.py:diffrate"),
        *("--workdir", workdir, *ARGUMENTS),
    )
    assert finished.returncode == 0, finished.stderr
    return workdir, finished.stdout


def test_a_run_says_what_it_found(searched):
    workdir, output = searched
    (found,) = re.findall(r"^found reduction: (.+)$", output, re.MULTILINE)
    summary = json.loads((workdir / "evaluation.json").read_text())
    assert summary["found"] == {"reduction": found}
    counts = re.fullmatch(
        r"diffrate:prune_kept=\(17,(\d+),(\d+)\),merge_kept=\(17,(\d+),(\d+)\)", found
    )
    assert all(2 <= int(count) <= 17 for count in counts.groups())


def test_a_small_target_wants_fewer_tokens(searched):
    variables = load_weights(searched[0], "last").variables["params"]
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    scores = [leaf for path, leaf in flat.items() if "/reducer/" in path]
    assert len(scores) == 4
    for each in scores:
        assert (np.asarray(each)[:8] < 0).all()  # of 16 ... 9 patches, from 0


def test_what_was_found_serves_as_a_reduction(searched):
    """On the weights of the search, whose scores and frozen parts are not asked for."""
    workdir, output = searched
    (found,) = re.findall(r"^found reduction: (.+)$", output, re.MULTILINE)
    finished = training_runs.run(
        "eval.py", "--workdir", workdir, "--reduction", found, "--config.figures=False"
    )
    assert finished.returncode == 0, finished.stderr
    assert "top-1" in finished.stdout
    assert "found" not in finished.stdout
