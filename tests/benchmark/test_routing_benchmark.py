"""What routing saves: exact shares, turns, the tables and files; mistakes."""

import csv
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from helpers.drawn_figures import assert_drawn
from PIL import Image

from tokenjax import models, plots
from tokenjax.benchmark import latency, routing, routing_stages, turns
from tokenjax.errors import UserError
from tokenjax.ops import dispatch

SIZES = {
    "img_size": 8,
    "patch_grid": 2,
    "big_hidden_dim": 16,
    "big_layers": 1,
    "small_hidden_dim": 4,
    "embed_dim": 8,
    "aggregator_dim": 8,
    "head_hidden_dim": 8,
}
SMALL = "--set=" + ",".join(f"{key}={value}" for key, value in SIZES.items())
LEAN = routing_stages.Encoder("lean", 4, 1)


@pytest.fixture(scope="module", autouse=True)
def few_capacities():
    """Each takes its time to compile, and here no time is worth measuring."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "default_capacities", lambda rows: (0, rows // 2, rows))
        yield


def run(*arguments):
    values = flags.FlagValues()
    routing.define_flags(values)
    values(["routing", *map(str, arguments)])
    routing.main(["routing"], values)


@pytest.fixture(scope="module")
def stage(few_capacities):
    shares = [0.0, 0.3, 1.0]
    return routing_stages.routed_stage(SIZES, shares, batch_size=5, dtype="float32")


def share(contestant):
    return contestant.labels["share"]


def test_masks_have_the_share(stage):
    big, small, *routed = stage
    assert (share(big), share(small)) == (1, 0)
    assert [share(each) for each in routed] == [0, 0.3, 1]
    for contestant in stage:
        masks = [np.asarray(mask) for _, _, mask in contestant.calls]
        assert len(masks) > 1
        assert {mask.mean() for mask in masks} == {np.float32(share(contestant))}
    several = [mask for _, _, mask in routed[1].calls]
    assert not np.array_equal(several[0], several[1])


def test_the_stage_is_that_of_the_model(stage, assert_close):
    big, small, _, routed, _ = stage
    for call in routed.calls:
        mask = np.asarray(call[-1])[..., None]
        expected = np.where(mask, big.function(*call), small.function(*call))
        assert_close(routed.function(*call), expected, 1e-6)


def test_flops_of_the_stage(stage):
    big, small, *routed = stage
    pixels, patches = 4 * 4 * 3, 4
    assert big.flops == patches * 2 * (pixels * 16 + 16 * 8)
    assert small.flops == patches * 2 * (pixels * 4 + 4 * 8)
    assert routed[0].flops == small.flops
    assert routed[1].flops == pytest.approx(0.3 * big.flops + 0.7 * small.flops)
    assert routed[2].flops == big.flops


def test_whole_models_send_a_quarter(monkeypatch):
    monkeypatch.setattr(routing_stages, "_compile", lambda function, _: function)
    encoders = [routing_stages.Encoder("convolutional", 4, 1), LEAN]
    full, with_encoder, cheap, *routed = routing_stages.whole_models(
        SIZES, encoders, 3, "float32"
    )
    assert [full.name, cheap.name] == ["full_compute", "cheap_compute"]
    assert [each.labels["encoder"] for each in routed] == [
        *["convolutional-4-1"] * 2,
        *["lean-4-1"] * 2,
    ]
    assert [share(each) for each in routed] == [0.25] * 4
    module = models.create("full_compute", **SIZES, **encoders[0].arguments())
    aux = module.apply(*full.calls[0])[1]
    assert with_encoder.flops == aux["actual_flops"][0]  # counts encoder and head
    encoder = 2 * 9 * 3 * 4 * 8 * 8
    head = 2 * 4 * 4
    assert full.flops == with_encoder.flops - encoder - head
    shared = full.flops - cheap.flops  # four patches from one network to the other
    expected = with_encoder.flops - 0.75 * shared
    assert routed[0].flops == routed[1].flops == pytest.approx(expected)


def test_an_encoder_that_is_read_is_not_said_to_be_dropped(monkeypatch):
    monkeypatch.setattr(routing_stages, "_compile", lambda function, _: function)
    sizes = {**SIZES, "aggregator": "attention"}
    full, with_encoder, *_ = routing_stages.whole_models(sizes, [LEAN], 3, "float32")
    assert full.labels["encoder"] == with_encoder.labels["encoder"] == "lean-4-1"
    assert full.flops == with_encoder.flops


def test_a_threshold_between_the_quarter_and_the_rest():
    scores = np.arange(16.0).reshape(2, 8) / 16
    assert (scores >= routing_stages._quantile(scores)).sum() == 4
    one = np.array([[0.25, 0.5]])
    assert routing_stages._quantile(one) <= 0.5


LABELS = {"colour": "red"}  # turns know no routing


def contestant(name, calls, seconds, flops, seen):
    def function(call):
        seen.append((name, call))
        time.sleep(seconds)
        return jnp.zeros(())

    return turns.Contestant(name, flops, function, [(call,) for call in calls], LABELS)


def test_turns():
    seen, rounds = [], []
    both = [
        contestant("a", [0, 1], 0.01, 10, seen),
        contestant("b", [0, 1, 2], 0.04, 5, seen),
    ]
    timing = latency.Timing(1, 4, on_call=lambda: rounds.append(None))
    first, second = turns.compare("made up", both, 2, timing)
    assert seen[:2] == [("a", 0), ("b", 0)]  # to warm up
    assert [name for name, _ in seen] == ["a", "b"] * 5
    assert [call for name, call in seen[2:] if name == "b"] == [0, 1, 2, 0]
    assert len(rounds) == first.latency.repeats == 4
    assert first.labels == second.labels == LABELS
    assert (first.ratio, first.ideal, second.ideal) == (1, 1, 0.5)
    assert second.ratio > 1.5
    assert second.images_per_second == 2 / second.latency.median


def test_a_time_budget_keeps_five_rounds():
    seen = []
    timing = latency.Timing(0, 100, 0.01)
    seconds = turns.time_in_turns([contestant("a", [0], 0.01, 1, seen)], timing)
    assert seconds.shape == (latency.FEWEST_REPEATS, 1)


def test_the_program(tmp_path, capsys):
    table, figure = tmp_path / "out.csv", tmp_path / "figures" / "out.png"
    figure.parent.mkdir()
    run(
        *["--batch_size=2,2", "--shares=0,0.5", "--encoders=lean-4-1", SMALL],
        *["--rounds=3", f"--csv={table}", f"--figure={figure}"],
    )
    printed = capsys.readouterr()
    for part in (f"jax {jax.__version__}; float32", "2 per multiply-add", "3 rounds"):
        assert part in printed.out
    assert printed.out.startswith("routed stage, batch 2: big network alone, 100.0 %")
    assert "whole model, batch 2: 100%" in printed.err
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [column.heading for column in routing.COLUMNS]
    stage = [row for row in rows if row["Comparison"] == routing.STAGE]
    assert [row["Batch"] for row in stage] == ["2"] * 4
    assert [row["Selected(%)"] for row in stage] == ["100", "0", "0", "50"]
    assert [row["Model"] for row in rows[4:]] == [
        *["full_compute"] * 2,
        "cheap_compute",
        "attention_routing, top_k",
        "attention_routing, learnable_threshold",
    ]
    assert all(float(row["Ratio"]) > 0 for row in rows)
    assert_drawn(figure, figure)


def test_a_limit_leaves_out_what_has_not_begun(tmp_path, capsys):
    begun = []

    def maker(size):
        begun.append(size)
        known = routing_stages.labels(1.0, "lean-4-1")
        return [contestant("a", [0], 0.001, 1, [])._replace(labels=known)]

    options = {"rounds": 5, "max_seconds": 1.0, "limit": 1e-3}
    costs = routing.measure_all(
        {routing.STAGE: maker}, [3, 7], {**options, "csv": tmp_path / "out.csv"}
    )
    assert begun == [cost.batch_size for cost in costs] == [3]
    out = capsys.readouterr().out
    assert "routed stage, batch 3: a, 100.0 % selected: 1.000 of the first" in out
    assert "routed stage, batch 7: left out, --limit is over" in out


def test_large_sizes_give_way_to_those_set(monkeypatch):
    made = []
    monkeypatch.setattr(routing, "measure_all", lambda makers, *_: made.append(makers))
    monkeypatch.setattr(routing, "describe", lambda *_: "")
    monkeypatch.setattr(routing_stages, "routed_stage", lambda *given: given)
    run("--large", "--shares=0.25", "--encoders=", "--set=big_hidden_dim=24")
    arguments, *_ = made[0][routing.STAGE](5)
    assert arguments == {**routing_stages.LARGE, "big_hidden_dim": 24}
    assert (arguments["img_size"] // arguments["patch_grid"]) == 16


def test_bfloat16():
    big, *_ = routing_stages.routed_stage(SIZES, [], 2, "bfloat16")
    assert big.function(*big.calls[0]).dtype == jnp.bfloat16
    kernels = [leaf for leaf in jax.tree.leaves(big.calls[0][0]) if leaf.ndim > 1]
    assert {kernel.dtype for kernel in kernels} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shares=0,1.5"], r"within 0\.\.1, got '1.5'"),
        (["--shares=-0.1"], "got '-0.1'"),
        (["--shares=half"], "got 'half'"),
        (["--shares=nan"], "got 'nan'"),
        (["--batch_size=0"], "positive integers, got '0'"),
        (["--batch_size=1.5"], "got '1.5'"),
        (["--dtype=int8"], "float32, bfloat16"),
        (["--encoders=lean"], "such as lean-32-2, got 'lean'"),
        (["--encoders=leen-4-2"], "encoder must be one of"),
        (["--encoders=lean-0-2"], "encoder_channels must be at least 1"),
        (["--set=dpth=3"], "dpth"),
        (["--set=router=top_k"], "--set router"),
        (["--set=patch_grid=3"], "does not divide"),
        (["--shares=", "--encoders="], "nothing to measure"),
        (["--shares=", "--figure=a.png"], "needs --shares"),
        (["--figure=a.pdf"], r"end in \.png"),
        (["--csv=/no/such/place.csv"], "does not exist"),
    ],
)
def test_mistakes_are_said_before_measuring(monkeypatch, arguments, message):
    def never(*_):
        raise AssertionError("measured")

    monkeypatch.setattr(routing, "measure_all", never)
    with pytest.raises(UserError, match=message) as raised:
        run(*arguments)
    assert "\n" not in str(raised.value)


def points(batch_size, count=3):
    shares = np.linspace(0, 1, count)
    return [
        {"batch_size": batch_size, "share": x, "ratio": 0.1 + x, "ideal": x}
        for x in shares
    ]


def test_figure(tmp_path):
    path = tmp_path / "figures" / "figure.png"
    assert_drawn(path, plots.routing_cost(points(1), path))
    many = [point for size in (1, 8, 64, 256) for point in points(size)]
    assert_drawn(path, plots.routing_cost(many[::-1], path, "a machine"))
    with Image.open(path) as one:
        pixels = np.asarray(one.convert("RGB"))
    plots.routing_cost(many, path, "a machine")
    with Image.open(path) as other:
        assert np.array_equal(pixels, np.asarray(other.convert("RGB")))  # in any order
    with pytest.raises(ValueError, match="no points"):
        plots.routing_cost([], path)
    with pytest.raises(ValueError, match="a point needs"):
        plots.routing_cost([{"batch_size": 1, "share": 0.5, "ratio": np.nan}], path)
