"""What predicting pictures costs beside the network alone, decoding aside.

    python -m tokenjax.benchmark.prediction
    python -m tokenjax.benchmark.prediction --model vdpa --batch_size 32 --image_size 64

`tokenjax.load(...).predict` on arrays (transfer to the device, normalisation, scores
back, the last batch filled up) against bench.py's program at the same batch, whose
inputs lie on the device: in turns, the ratio of images/s round by round.
"""

import math
import runpy
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from tokenjax import models
from tokenjax.benchmark import command_line, hardware, latency, measure, program, turns
from tokenjax.card import Card, Images
from tokenjax.errors import UserError
from tokenjax.models import contract
from tokenjax.prediction import Predictor
from tokenjax.prediction.embedding import head_paths
from tokenjax.written_arguments import read_arguments

WARMUP = 1  # rounds before the first timed one


class Found(NamedTuple):
    """Images/s of both, medians, and the median of their ratios with its interval."""

    network: float
    predicted: float
    ratio: float
    low: float
    high: float
    rounds: int


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the flags; call it once, before they are parsed."""
    options: Any = {"flag_values": values}
    flags.DEFINE_string("model", "vit_tiny_patch16", "A classifier.", **options)
    flags.DEFINE_integer("images", 1000, "Pictures in memory.", 1, **options)
    flags.DEFINE_integer("batch_size", 64, "Images at a time.", 1, **options)
    flags.DEFINE_integer("image_size", 0, "Pixels; 0: the model's own.", 0, **options)
    flags.DEFINE_string("dtype", "float32", "float32, bfloat16 or float16.", **options)
    flags.DEFINE_integer("rounds", 7, "Timed turns of each.", 1, **options)
    flags.DEFINE_multi_string("set", [], "Its arguments: depth=4,...", **options)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Measure, and print what came out.

    Raises: UserError for what does not fit, before any measuring.
    """
    command_line.check_no_arguments(argv)
    arguments = read_arguments(values.set, "--set")
    module, size = measure.build(
        values.model, arguments, values.dtype, values.image_size
    )
    predictor = make_predictor(values.model, module, size, values.batch_size)
    with tqdm(total=values.rounds, unit="round", disable=None) as bar:
        timing = latency.Timing(WARMUP, values.rounds, on_call=bar.update)
        found = measure_prediction(predictor, module, size, values.images, timing)
    height, width, _ = predictor.preparation.shape
    print(
        f"{values.model}, {height}x{width}, {values.dtype}, batch "
        f"{values.batch_size}, {values.images} images, {hardware.describe()}\n"
        f"the network alone {found.network:.1f} images/s, predict "
        f"{found.predicted:.1f} images/s: {found.ratio:.1%} "
        f"({found.low:.1%} to {found.high:.1%}, median of {found.rounds} turns)"
    )


def make_predictor(
    name: str, module: nn.Module, image_size: int, batch_size: int
) -> Predictor:
    """Return a predictor of new weights; `image_size` 0 is the model's own.

    Raises: UserError for a model that scores no classes.
    """
    if isinstance(module, contract.Retrieves) or not head_paths(module):
        raise UserError(
            f"--model {name} scores no classes: there is nothing to predict"
        )
    described = {"name": name, **models.values(module)}
    side = image_size or None
    channels = jax.tree.leaves(module.example_inputs(1))[0].shape[-1]
    grey = (0.5,) * channels
    card = Card(described, Images(height=side, width=side, mean=grey, std=grey))
    variables = program.initialize(module, *module.example_inputs(1))
    return Predictor(module, variables, card, batch_size)


def measure_prediction(
    predictor: Predictor,
    module: nn.Module,
    image_size: int,
    count: int,
    timing: latency.Timing,
) -> Found:
    """Time `count` images through both, in turns."""
    batch_size = predictor.batch_size
    generator = np.random.default_rng(0)
    shape = (count, *predictor.preparation.shape)
    images = generator.integers(0, 256, shape, np.uint8)
    compiled = program.inference(module, batch_size, image_size)
    calls = math.ceil(count / batch_size)

    def run_network() -> None:
        for number in range(calls):
            given = compiled.calls[number % len(compiled.calls)]
            jax.block_until_ready(compiled.function(*given))

    contestants = [
        turns.Contestant("network", compiled.flops, run_network, [()]),
        turns.Contestant("predict", compiled.flops, predictor.predict, [(images,)]),
    ]
    seconds = turns.time_in_turns(contestants, timing)  # (rounds, 2)
    network = calls * batch_size / seconds[:, 0]  # images/s
    predicted = count / seconds[:, 1]
    ratios = predicted / network
    low, high = latency.median_interval(ratios)
    return Found(
        network=float(np.median(network)),
        predicted=float(np.median(predicted)),
        ratio=float(np.median(ratios)),
        low=low,
        high=high,
        rounds=len(ratios),
    )


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.prediction_cost", run_name="__main__")
