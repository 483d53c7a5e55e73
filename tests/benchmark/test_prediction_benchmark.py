"""What predicting costs beside the network alone."""

import pytest
from helpers.entry_points import run_in_process

from tokenjax.benchmark import latency, measure, prediction

SIZES = "img_size=16,patch_size=4,embed_dim=16,depth=1,num_heads=2"


def test_both_are_measured():
    arguments = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1}
    module, size = measure.build("vit", {**arguments, "num_heads": 2}, "float32", 0)
    predictor = prediction.make_predictor("vit", module, size, 8)
    asked = []
    own = predictor.predict
    predictor.predict = lambda images: asked.append(images.shape) or own(images)
    timing = latency.Timing(warmup=1, repeats=3)
    found = prediction.measure_prediction(predictor, module, size, 20, timing)
    assert asked == [(20, 16, 16, 3)] * 4
    assert found.rounds == 3
    assert found.low <= found.ratio <= found.high
    assert min(found.network, found.predicted) > 0


def test_what_is_printed():
    finished = run_in_process(
        *("prediction_cost", "--model", "vit", "--set", SIZES),
        *("--images", 9, "--batch_size", 4, "--rounds", 2),
    )
    assert finished.returncode == 0, finished.stderr
    first, second = finished.stdout.splitlines()
    assert first.startswith("vit, 16x16, float32, batch 4, 9 images, ")
    assert "images/s, predict " in second
    assert "median of 2 turns" in second


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--model", "demo"], "demo scores no classes"),
        (["--model", "vti"], "unknown model 'vti'"),
        (["--set", "dpth=1"], "dpth"),
        (["--images", "0"], "images"),
        (["more"], "unexpected argument 'more'"),
    ],
)
def test_mistakes(arguments, part):
    finished = run_in_process("prediction_cost", *arguments)
    assert finished.returncode == 2
    assert part in finished.stderr
