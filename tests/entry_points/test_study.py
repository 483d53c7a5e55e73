"""Studies: what they plan, and one small one from end to end."""

import json
import pathlib

import pytest
from helpers import training_runs

from tokenjax.errors import UserError
from tokenjax.study import plan

SMALL_STUDY = """
from ml_collections import ConfigDict
from configs import study_cifar_vit


def get_config(variant=""):
    study = study_cifar_vit.smoke()
    del study.variants["linear_vit"]
    data = study.datasets.digits
    data.data.image_size, data.model.patch_size = 16, 4
    data.steps, data.log_every_steps, data.figures = 2, 1, False
    for variant in study.variants.values():
        variant.model.update(embed_dim=16, depth=4, num_heads=2)
    study.latency_batch_size = 2
    return study
"""


def study(**changes):
    from configs import study_cifar_vit

    config = study_cifar_vit.full()
    config.update(changes)
    return config


def test_a_plan_links_its_runs():
    runs = {run.variant: run for run in plan.plan(study())}
    assert set(runs) == {"vit", "linear_vit", "dynamic_vit", "dynamic_vit_unpruned"}
    root = pathlib.Path("root")
    teacher = root / "fashion_mnist" / "vit" / "0"
    assert runs["dynamic_vit"].needed(root) == teacher
    assert runs["vit"].needed(root) is None
    config = plan.run_config(study(), runs["dynamic_vit"], root)
    assert config.distillation.teacher == str(teacher)
    assert (config.task, config.model.patch_size) == ("pruning", 4)
    unpruned = plan.run_config(study(), runs["dynamic_vit_unpruned"], root)
    assert unpruned.model.pruning == "none"
    assert unpruned.distillation.teacher == ""
    assert not runs["dynamic_vit_unpruned"].trains


def test_bad_studies():
    with pytest.raises(UserError, match=r"reference: unknown variant 'vti'.*'vit'"):
        plan.plan(study(reference="vti"))
    with pytest.raises(UserError, match="unknown column of a study 'top_1'"):
        plan.plan(study(columns=("top1", "top_1")))
    broken = study()
    broken.variants.dynamic_vit.teacher_run = "teacher"
    with pytest.raises(UserError, match="teacher_run of dynamic_vit: unknown variant"):
        plan.plan(broken)
    del broken["seeds"]
    with pytest.raises(UserError, match="a study has the keys"):
        plan.plan(broken)


@pytest.mark.long  # an ablation goes the same way: test_routing_runs.py
def test_a_study_from_end_to_end(tmp_path):
    config, root = tmp_path / "small.py", tmp_path / "root"
    config.write_text(SMALL_STUDY)
    arguments = ["--config", config, "--workdir", root]
    finished = training_runs.run("-m tokenjax.study", *arguments, timeout=300)
    assert finished.returncode == 0, finished.stderr
    assert "| digits | dynamic_vit |" in finished.stdout
    rows = json.loads((root / "results.json").read_text())["rows"]
    by_name = {row["variant"]: row for row in rows}
    pruned, plain = by_name["dynamic_vit"], by_name["vit"]
    assert pruned["mflops"] < by_name["dynamic_vit_unpruned"]["mflops"]
    assert plain["latency_ratio"] == 1
    assert all(0 <= row["top1"] <= 1 for row in rows)
    assert pruned["minutes"] > 0
    assert "2 per multiply-add" in (root / "table.md").read_text()
    for name in ("table.md", "accuracy.png", "accuracy_over_latency_digits.png"):
        assert (root / name).stat().st_size > 100
