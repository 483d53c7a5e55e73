"""bench.py --model sdtps: the stages are those of the model, counted by hand."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from helpers.entry_points import run_in_process

from tokenjax import models
from tokenjax.benchmark import (
    bench,
    command_line,
    flops,
    measure,
    program,
    sdtps,
    sdtps_stages,
    session,
)
from tokenjax.benchmark.chosen_models import choose
from tokenjax.errors import UserError
from tokenjax.written_arguments import WrittenModel

TINY = {
    "num_classes": 5,
    "image_size": (32, 16),
    "patch_size": 4,
    "stride_size": (4, 4),
    "width": 16,
    "depth": 1,
    "num_heads": 2,
    "feat_dim": 64,
}
SMALL = "--set=" + ",".join(f"{k}={v}" for k, v in TINY.items()).replace(" ", "")
MODALITIES = ("rgb", "nir", "tir")
BATCH = 2
STAGES = [
    *["backbone", "global-local", "selection", "aggregation"],
    *["selection + aggregation", "heads", "HDM + ATMoE", "whole"],
]


def options(*arguments):
    values = flags.FlagValues()
    command_line.define_bench_flags(values)
    values(["bench.py", *arguments])
    return values


@pytest.fixture(scope="module")
def made():
    model = models.create("demo", **TINY)
    control = models.create("demo", **TINY, fusion="hdm_atm")
    seen = []
    found = sdtps_stages.make_stages(model, control, BATCH, lambda: seen.append(None))
    assert [stage.name for stage in found] == STAGES
    assert len(seen) == len(found)
    return model, {stage.name: stage for stage in found}


def outputs(stage):
    return [stage.compiled(*call) for call in stage.calls]


def test_the_stages_make_up_the_model(made, assert_close):
    model, stages = made

    def close(actual, expected):
        jax.tree.map(lambda x, y: assert_close(x, y, 1e-5), actual, expected)

    whole, apply = stages["whole"], jax.jit(model.apply)
    assert len(whole.calls) == 3
    names = ("backbone", "global-local", "selection", "aggregation", "heads")
    for call, *parts in zip(
        whole.calls, *(outputs(stages[name]) for name in names), strict=True
    ):
        expected = apply(*call)
        tokens, globals_, selected, fused, scores = parts
        assert {tokens[name].shape for name in MODALITIES} == {(BATCH, 33, 64)}
        close(globals_, expected["globals"])
        for name in MODALITIES:
            keep = np.asarray(selected[f"{name}_sparse"].keep_indices)
            np.testing.assert_array_equal(keep, expected["aux"]["keep_indices"][name])
        close(fused, expected["features"]["fused"])
        close(scores, expected["scores"])
        close(whole.compiled(*call), expected["features"]["concat"])
    both = outputs(stages["selection + aggregation"])
    close(both, outputs(stages["aggregation"]))
    assert not np.array_equal(both[0], both[1])


def selection_flops(tokens, dim):
    """Predictor, three similarities and the extra token, of one modality."""
    predictor = 2 * tokens * (dim * (dim // 4) + dim // 4)
    return predictor + 3 * 2 * tokens * dim + 2 * tokens * dim


def aggregation_flops(kept, dim, rows):
    hidden = int(0.2 * dim)
    return 2 * kept * (dim * hidden + hidden * rows) + 2 * rows * kept * dim


def test_flops_by_hand(made):
    found = {name: stage.flops for name, stage in made[1].items()}
    patches, width, dim, classes = 32, 16, 64, 5
    tokens = patches + 1
    block = 2 * tokens * 12 * width**2 + 2 * 2 * tokens**2 * width
    image = 2 * patches * 4 * 4 * 3 * width + block + 2 * tokens * width * dim
    images = 3 * BATCH
    assert found["backbone"] == images * image
    assert found["global-local"] == images * 2 * 2 * dim * dim
    assert found["selection"] == images * selection_flops(patches, dim)
    assert found["aggregation"] == images * aggregation_flops(16, dim, 6)
    assert found["heads"] == 2 * BATCH * 2 * 3 * dim * classes
    both = found["selection"] + found["aggregation"]
    assert found["selection + aggregation"] == both
    assert found["whole"] == found["backbone"] + found["global-local"] + both


def test_parameters(made):
    found = {name: stage.parameters for name, stage in made[1].items()}
    both = found["selection + aggregation"]
    assert found["selection"] == 3 * (64 * 16 + 16 + 16 + 1)
    assert found["selection"] + found["aggregation"] == both
    parts = ("backbone", "global-local", "selection + aggregation", "heads")
    assert found["whole"] == sum(found[name] for name in parts)


def test_real_sizes():
    """The numbers of docs/results.md, nothing computed."""
    module = measure.build("sdtps", {}, "float32", 0)[0]
    example = jax.eval_shape(lambda: module.example_inputs(1))
    assert example[0]["nir"].shape == (1, 128, 512)
    variables = jax.eval_shape(module.init, jax.random.key(0), *example)
    found = flops.count_flops(program.first_output(module), variables, *example)
    expected = 3 * (selection_flops(128, 512) + aggregation_flops(64, 512, 25))
    assert found == expected == 77_951_232
    model = measure.build("demo", {}, "float32", 0)[0]
    example = jax.eval_shape(lambda: model.example_inputs(1))
    variables = jax.eval_shape(model.init, jax.random.key(0), *example)
    assert program.count_parameters(variables) == 88_620_645


def test_another_model():
    """Without a stage that it lacks, and with a head for each of two modalities."""
    changed = {"global_local": False, "direct": False, "modalities": ("rgb", "nir")}
    model = models.create("demo", **TINY, **changed)
    found = sdtps_stages.make_stages(model, None, 1, lambda: None)
    stages = {stage.name: stage for stage in found}
    assert list(stages) == [
        name for name in STAGES if name not in ("global-local", "HDM + ATMoE")
    ]
    assert set(stages["heads"].calls[0][1]) == {"fused", "rgb", "nir"}
    parts = ("backbone", "selection", "aggregation")
    assert stages["whole"].flops == sum(stages[name].flops for name in parts)


def test_the_program(tmp_path):
    path = tmp_path / "out.csv"
    chosen = ["--batch_size=2", "--repeats=5", "--warmup=1", SMALL, f"--csv={path}"]
    run = run_in_process("bench", "--model=sdtps", *chosen)
    assert run.returncode == 0, run.stderr
    models_table, stages_table = run.stdout.split("Stages of demo")
    assert "sdtps 2x32x64" in models_table
    assert "5 rounds" in stages_table
    first_column = [line.split("  ")[0] for line in stages_table.splitlines()]
    assert first_column[4 : 4 + len(STAGES)] == STAGES
    assert "SDTPS, batch 2: " in stages_table
    assert "batch 2: 100%" in run.stderr
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [column.heading for column in sdtps.COLUMNS]
    expected = ["sdtps", "demo", *(f"demo: {name}" for name in STAGES)]
    assert [row["Model"] for row in rows] == expected
    assert all(float(row["Latency_median(ms)"]) > 0 for row in rows)
    ratios = [row["Time/backbone(%)"] for row in rows]
    assert ratios[:3] == ["", "", "100"]
    assert float(rows[6]["FLOPs/backbone(%)"]) == pytest.approx(
        100 * float(rows[6]["GFLOPs"]) / float(rows[2]["GFLOPs"]), rel=1e-4
    )
    assert rows[1]["GFLOPs"] == rows[-1]["GFLOPs"]


def test_the_first_output_of_a_model_for_retrieval():
    model = models.create("demo", **TINY)
    example = jax.eval_shape(lambda: model.example_inputs(1))
    variables = jax.eval_shape(model.init, jax.random.key(0), *example)
    found = jax.eval_shape(program.first_output(model), variables, *example)
    assert found.shape == (1, 2 * 3 * 64)


def test_requests_have_the_model_too():
    chosen = options("--models=sdtps,vit,demo", "--batch_size=1,8")
    assert list(choose(chosen.flag_values_dict())) == ["sdtps", "demo", "vit"]
    chosen = options("--models=vit,sdtps(feat_dim=64)", "--set=num_classes=5")
    found = choose(chosen.flag_values_dict())
    assert list(found) == ["vit", "sdtps(feat_dim=64)", "demo(feat_dim=64)"]
    arguments = {"num_classes": 5, "feat_dim": 64}
    assert found["demo(feat_dim=64)"] == WrittenModel("demo", arguments)


def test_dtype_and_image_size():
    model, size = measure.build("demo", {}, "bfloat16", 64)
    assert (model.image_size, model.dtype, size) == ((64, 64), jnp.bfloat16, 0)
    module, size = measure.build("sdtps", {}, "bfloat16", 64)
    assert (module.num_patches, module.dtype, size) == (16, jnp.bfloat16, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=sdtsp"], "did you mean 'sdtps'"),
        (["--models=vit,sdtsp"], "did you mean 'sdtps'"),
        ([], "Valid: .*sdtps"),
        (["--model=sdtps", "--set=dpth=3"], "did you mean 'depth'"),
        (["--models=sdtps,sdtps(feat_dim=64)"], "one sdtps at a time"),
        (["--model=sdtps", "--set=fusion=hdm"], "--set fusion"),
        (["--model=sdtps", "--set=sdtps_beta=2"], r"beta must be within \[0, 0.5\]"),
        (["--model=sdtps", "--set=feat_dim=32"], "feat_dim must be at least 64"),
        (["--model=sdtps", "--csv=/no/such/place.csv"], "does not exist"),
        (["--model=clip_vit", "--image_size=64"], "--image_size 64, clip_vit: .* fit"),
    ],
)
def test_mistakes_are_said_before_measuring(monkeypatch, arguments, message):
    def never(*_):
        raise AssertionError("measured")

    monkeypatch.setattr(session, "measure_all", never)
    with pytest.raises(UserError, match=message) as raised:
        bench.main(["bench.py"], options(*arguments))
    assert "\n" not in str(raised.value)
