"""bench.py --reduction: what the flag says, what is counted, what a row compares."""

import csv
import json
import time

import numpy as np
import pytest
from absl import flags

from tokenjax import models
from tokenjax.benchmark import (
    bench,
    command_line,
    latency,
    measure,
    memory,
    program,
    reductions,
    table,
    torch_peers,
    turns,
)
from tokenjax.errors import UserError
from tokenjax.written_arguments import WrittenModel

SMALL = {"img_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}
VIT = "vit(img_size=16,embed_dim=16,depth=2,num_heads=2)"
LINEAR = "linear_vit(img_size=16,embed_dim=16,depth=1,num_heads=2)"


def parse(*arguments):
    values = flags.FlagValues()
    command_line.define_bench_flags(values)
    values(["bench.py", *arguments])
    return values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tome:r=13", ["none", "tome:r=13"]),
        ("tome:r=2,prop_attn=False,none", ["none", "tome:r=2,prop_attn=False"]),
        ("none, tome:r=(4,-1.0) ,tome", ["none", "tome:r=(4,-1.0)", "tome"]),
        (
            "tome:r=4,2,tome:keep_rate=0.5,reduction_loc=(1,)",
            ["none", "tome:r=(4,2)", "tome:keep_rate=0.5,reduction_loc=(1,)"],
        ),
    ],
)
def test_a_piece_that_names_no_method_belongs_to_the_one_before(text, expected):
    values = parse("--model=vit", f"--reduction={text}")
    assert reductions.read(values.reduction) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reduction=tom:r=2"], "unknown method 'tom'.*tome"),
        (
            ["--reduction=tome:rate=2"],
            "unknown argument of tome .rate., did you mean .keep_rate",
        ),
        (["--reduction=r=2,tome"], "r=2"),
        (["--reduction=tome:r=2,tome:r=2"], "names tome:r=2 twice"),
        (["--reduction=tome:r=17"], "tome:r=17: .* the image has 16 patches"),
        (["--reduction=tome", "--batch_size=1,auto"], "replace auto"),
        (["--reduction=tome", "--set=reduction=tome:r=2"], "has one of its own"),
    ],
)
def test_what_does_not_fit_is_a_sentence_before_measuring(
    monkeypatch, arguments, message
):
    def never(*_):
        raise AssertionError("measured")

    monkeypatch.setattr(bench.session, "measure_all", never)
    with pytest.raises(UserError, match=message) as raised:
        bench.main(["bench.py"], parse(f"--models={VIT}", *arguments))
    assert "\n" not in str(raised.value)


def test_models_none_of_which_takes_a_reduction():
    chosen = {name: WrittenModel(name, {}) for name in ("linear_vit", "resnet50")}
    with pytest.raises(UserError, match=r"linear_vit tome: this model .* vit,"):
        reductions.put_into(chosen, ["none", "tome"], "float32", 0)
    chosen = {"sdtps": WrittenModel("sdtps", {})}
    with pytest.raises(UserError, match="whole models: take demo"):
        reductions.put_into(chosen, ["none", "tome"], "float32", 0)


def test_flops_are_those_of_fewer_tokens_and_of_the_plan():
    """17 tokens, of which 8 merge in each block, width 16, 2 heads."""
    whole = program.inference(models.create("vit", **SMALL), 1)
    merged = program.inference(
        models.create("vit", **SMALL, reduction="tome:r=8"), 1, like=whole
    )
    dim, head, hidden = 16, 8, 64

    def block(before, after, plan):
        attention = 4 * before * dim**2 + 2 * before**2 * dim
        return 2 * (attention + plan + 2 * after * dim * hidden)

    def plan(givers, receivers, joined, after):
        # cosines, and the sizes and tokens that join
        return givers * receivers * head + joined * after * (1 + dim)

    outside = whole.flops - 2 * block(17, 17, 0)
    first, second = block(17, 9, plan(8, 8, 8, 9)), block(9, 5, plan(4, 4, 4, 5))
    assert outside == 2 * (16 * 48 * dim + dim * 10)  # patches and the head
    assert merged.flops == outside + first + second


def test_the_same_weights_and_images_are_measured():
    whole = program.inference(models.create("vit", **SMALL), 1)
    module = models.create("vit", **SMALL, reduction="tome:r=0")
    same = program.inference(module, 1, like=whole)
    assert same.variables is whole.variables
    assert same.examples is whole.examples
    ours, theirs = (each.function(*each.calls[0]) for each in (same, whole))
    np.testing.assert_array_equal(ours, theirs)
    wider = models.create("vit", **{**SMALL, "embed_dim": 8})
    other = program.inference(wider, 1, like=whole)
    assert other.variables["params"]["pos_embed"].shape[-1] == 8


def test_a_row_for_every_way_of_every_model(tmp_path, capsys):
    csv_file, json_file = tmp_path / "a.csv", tmp_path / "a.json"
    values = parse(
        f"--models={VIT},{LINEAR}",
        "--reduction=tome:r=4,tome:r=8",
        "--batch_size=2",
        "--warmup=1",
        "--repeats=6",
        f"--csv={csv_file}",
        f"--json={json_file}",
    )
    bench.main(["bench.py"], values)
    printed = capsys.readouterr().out
    assert f"Inputs: {VIT} 2x16x16x3; {LINEAR} 2x16x16x3.\n" in printed
    assert "Time/none: of a call to that of the same model" in printed
    with open(csv_file) as file:
        rows = list(csv.DictReader(file))
    ways = ("", " tome:r=4", " tome:r=8")
    names = [f"{model}{way}" for model in (VIT, LINEAR) for way in ways]
    assert [row["Model"] for row in rows] == names
    none, four, eight, linear, *others = rows
    assert none["Time/none"] == linear["Time/none"] == none["Problem"] == ""
    assert {row["Problem"] for row in others} == {"this model takes no reduction"}
    for row in (four, eight):
        saved = 100 * (1 - float(row["GFLOPs"]) / float(none["GFLOPs"]))
        assert float(row["FLOPs_saved(%)"]) == pytest.approx(saved, rel=1e-3)
        ratio = float(row["Time/none"])
        assert float(row["Speedup"]) == pytest.approx(1 / ratio, rel=1e-3)
        turned = float(row["Saved_time/FLOPs(%)"])
        assert turned == pytest.approx(1e4 * (1 - ratio) / saved, rel=1e-2, abs=1e-2)
    found = json.loads(json_file.read_text())["rows"]
    assert [row["reduction"] for row in found] == 2 * ["none", "tome:r=4", "tome:r=8"]
    assert found[1]["saved"]["time_ratio"] == pytest.approx(float(four["Time/none"]))


def test_rows_without_reductions_are_as_they_were():
    row = measure.failed_row("a", 1, "float32", False, "")
    assert not set(table.REDUCTION) & set(table.columns_for([row]))


def test_what_does_not_fit_into_memory_leaves_the_others(monkeypatch):
    prepare = measure.prepare

    def choosy(module, *arguments):
        if module.reduction is None:
            raise memory.OutOfMemory("no room")
        return prepare(module, *arguments)

    monkeypatch.setattr(measure, "prepare", choosy)
    chosen = {"small": WrittenModel("vit", {**SMALL, "depth": 1})}
    ways = reductions.put_into(chosen, ["none", "tome:r=8"], "float32", 0)
    timing = latency.Timing(warmup=0, repeats=2)
    none, merged = reductions.measure_ways(ways["small"], 1, "float32", 0, timing, True)
    assert "does not fit into the memory" in none.problem
    assert none.latency is None
    assert merged.latency
    assert merged.mode == "training"
    assert merged.saved is None


def test_warming_up_in_turns_stops_after_a_quarter_of_the_time():
    called = []
    slow = turns.Contestant("a", 1, lambda: (called.append(1), time.sleep(0.05)), [()])
    turns.time_in_turns([slow], latency.Timing(100, 1, max_seconds=0.1))
    assert len(called) == 2  # one of each: no more than a call is due in 25 ms


def test_pytorch_keeps_all_tokens_and_is_no_peer_of_a_model_that_does_not():
    whole = models.create("vit", **SMALL)
    assert torch_peers.has_equivalent("vit", whole)
    reduced = models.create("vit", **SMALL, reduction="tome:r=2")
    assert not torch_peers.has_equivalent("vit", reduced)
