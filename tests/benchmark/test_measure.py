"""Rows: a made-up module counted by hand, a model by name, the table and the CSV."""

import csv

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from tokenjax import benchmark
from tokenjax.benchmark import inputs, measure, memory, table
from tokenjax.errors import UserError

TIMING = benchmark.Timing(warmup=1, repeats=5)
SMALL = {"patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2}


class Convolutional(nn.Module):
    """One convolution to classify by, and a dear one that only `aux` sees."""

    dtype: str = "float32"

    def example_inputs(self, batch_size):
        return jnp.zeros((batch_size, 8, 8, 3)), jnp.zeros((batch_size,), jnp.int32)

    @nn.compact
    def __call__(self, images, cameras, train=False):
        assert images.shape[0] == cameras.shape[0]
        x = nn.Conv(4, (1, 1), use_bias=False)(images)
        look = nn.Conv(64, (3, 3))(images)
        scale = self.variable("batch_stats", "scale", jnp.ones, ())
        return x.mean((1, 2)) * scale.value, {"look": look}


def test_row_of_a_module():
    row = benchmark.measure_module(Convolutional(), "made up", 2, timing=TIMING)
    assert row.model == "made up"
    assert row.parameters == 3 * 4 + (3 * 3 * 3 * 64 + 64)  # without batch_stats
    assert row.flops == 2 * 2 * 8 * 8 * 3 * 4  # the look is not an output
    assert row.inputs == "2x8x8x3, 2"
    assert row.image_size == (8, 8)
    assert row.images_per_second == pytest.approx(2 / row.latency.median)
    assert row.memory.bytes > 0
    assert row.latency.repeats == 5


def test_image_size_without_img_size():
    row = benchmark.measure_module(
        Convolutional(), "made up", 1, image_size=16, timing=TIMING
    )
    assert row.inputs == "1x16x16x3, 1"
    assert row.image_size == (16, 16)
    assert row.flops == 2 * 16 * 16 * 3 * 4


def test_row_of_a_named_model():
    row = benchmark.measure_model("vdpa", SMALL, 2, "bfloat16", 32, TIMING)
    assert (row.model, row.dtype, row.inputs) == ("vdpa", "bfloat16", "2x32x32x3")
    assert row.device == jax.devices()[0].device_kind
    assert row.flops > 0


def test_inputs_are_distinct_noise():
    made = inputs.distinct_inputs(Convolutional(), 2)
    assert len(made) == 3
    images = [example[0] for example in made]
    assert all(0.7 < float(image.std()) < 1.3 for image in images)
    assert not jnp.array_equal(images[0], images[1])
    assert not jnp.array_equal(images[1], images[2])


def test_bad_requests():
    with pytest.raises(UserError, match="did you mean 'vdpa'"):
        benchmark.measure_model("vdpx", timing=TIMING)
    with pytest.raises(UserError, match="dpth"):
        benchmark.measure_model("vdpa", {"dpth": 3}, timing=TIMING)
    with pytest.raises(UserError, match="float32, bfloat16"):
        benchmark.measure_model("vdpa", dtype="int8", timing=TIMING)
    with pytest.raises(UserError, match="--dtype"):
        benchmark.measure_model("vdpa", {"dtype": "bfloat16"}, timing=TIMING)


def test_a_batch_too_big_is_one_sentence(monkeypatch):
    def exhausted(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(measure.latency, "time_calls", exhausted)
    with pytest.raises(UserError, match="smaller --batch_size"):
        benchmark.measure_module(Convolutional(), "made up", 4, timing=TIMING)


def made_up_row(model="made up", batch_size=8, repeats=50):
    return benchmark.Row(
        model=model,
        parameters=25_560_000,
        batch_size=batch_size,
        inputs=f"{batch_size}x224x224x3",
        flops=batch_size * 8_220_000_000,
        latency=benchmark.Latency(3.5, 0.021, 0.02, 0.001, 0.025, 0.019, repeats),
        memory=benchmark.Memory(3 * 2**20, memory.COMPILER),
        dtype="float32",
        device="cpu",
    )


def test_table():
    text = table.format_table([made_up_row(), made_up_row("b", 1, 12)], warmup=10)
    lines = text.splitlines()
    headings = lines[0].split()
    cells = dict(zip(headings, lines[2].replace("made up", "x").split(), strict=True))
    assert cells["Params(M)"] == "25.56"
    assert (cells["GFLOPs"], cells["GMACs"]) == ("8.220", "4.110")  # per image
    assert cells["Latency_median(ms)"] == "20.00"
    assert cells["Images/s"] == "400.0"
    assert cells["Memory(MiB)"] == "3.0"
    assert len(lines[0]) >= len(lines[2])
    assert "FLOPs: 2 per multiply-add" in text
    assert "12-50 calls" in text
    assert f"jax {jax.__version__}" in text


def test_csv_is_whole_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("old")
    table.write_csv([made_up_row(), made_up_row("b, c")], path)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Model"] for row in rows] == ["made up", "b, c"]
    columns = [*table.COLUMNS, table.QUEUED, table.PEAK, table.MODE, table.PROBLEM]
    columns += table.columns_of_the_original([made_up_row()])
    assert list(rows[0]) == [column.heading for column in columns]
    assert float(rows[0]["Latency_mean(ms)"]) == pytest.approx(21)
    assert list(tmp_path.iterdir()) == [path]


def test_csv_that_fails_keeps_the_old_file(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with pytest.raises(AttributeError):
        table.write_csv([made_up_row(), None], path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
