"""Times of a study's uses, all of a comparison in turns, and their FLOPs.

What a use takes is told by its ratio to the first use in the same round, which a busy
machine moves least: the median over the rounds, and the quartiles. Uses of equal
arguments are one program and are timed once, whatever weights they have; the weights
are those of the first seed, the images the test split's.
"""

import pathlib
from typing import Any, cast

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from tokenjax import benchmark, storage
from tokenjax.benchmark import turns
from tokenjax.benchmark.latency import Timing, compile_function
from tokenjax.benchmark.program import count_parameters, first_output
from tokenjax.data import Dataset
from tokenjax.study.costs import prepared_batches
from tokenjax.study.uses.accuracy import prepare
from tokenjax.study.uses.plan import FOLDER, Use, use_config, weights_of
from tokenjax.training.checkpoints import load_initial_variables
from tokenjax.training.settings import Settings

ROUNDS, WARM_UP = 40, 3
MAX_SECONDS = 60.0  # of a comparison at one batch size
Times = dict[str, dict[str, Any]]  # by the name of a use


def measure(
    study: ConfigDict, uses: list[Use], batch_size: int, root: pathlib.Path
) -> Times:
    """Time the uses of one comparison at one batch size, or read what is known.

    Returns: by name "ratio", "ratio_low", "ratio_high" (quartiles) to the first use,
      "latency_ms" (median), "rounds", "mflops" of an image, "parameters".
    """
    path = root / FOLDER / file_name(uses[0], batch_size)
    about = {use.name: use.about() for use in uses}
    if path.exists():
        known = storage.read_json(path)
        if about.items() <= known["uses"].items():  # others were timed beside them
            return known["times"]
    programs = _share_programs(study, uses, root)
    contestants = _compile(study, programs, batch_size, root)
    with tqdm(desc=f"batch {batch_size}", total=ROUNDS, unit="round") as bar:
        timing = Timing(WARM_UP, ROUNDS, MAX_SECONDS, bar.update)
        seconds = turns.time_in_turns(contestants, timing)  # (rounds, contestants)
    times = summarize(seconds, contestants, list(programs.values()))
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    machine = {"device": device, "jax": jax.__version__}
    storage.write_json(path, {"uses": about, **machine, "times": times})
    return times


def file_name(use: Use, batch_size: int) -> str:
    """Return the file that holds a comparison's times, in the folder of uses."""
    comparison = use.comparison.replace("/", "_").replace(" ", "_")
    return f"latency-{use.dataset}-{comparison}-{batch_size}.json"


def summarize(
    seconds: np.ndarray, contestants: list[turns.Contestant], shared: list[list[Use]]
) -> Times:
    """Return what each use took.

    Args:
      seconds: (rounds, contestants).
      contestants: the programs.
      shared: the uses of each program.
    """
    ratios = seconds / seconds[:, :1]
    times: Times = {}
    for index, contestant in enumerate(contestants):
        low, middle, high = np.percentile(ratios[:, index], [25, 50, 75])
        cost = {
            "ratio": float(middle),
            "ratio_low": float(low),
            "ratio_high": float(high),
            "latency_ms": 1e3 * float(np.median(seconds[:, index])),
            "rounds": len(seconds),
            "mflops": contestant.flops / 1e6,
            **contestant.labels,
        }
        times |= {use.name: cost for use in shared[index]}
    return times


def _share_programs(
    study: ConfigDict, uses: list[Use], root: pathlib.Path
) -> dict[str, list[Use]]:
    """Return the uses of each program, those with equal arguments and data together."""
    programs: dict[str, list[Use]] = {}
    for use in uses:
        config = use_config(study, use, root)
        same = [sorted(config[key].to_dict().items()) for key in ("model", "data")]
        programs.setdefault(repr(same), []).append(use)
    return programs


def _compile(
    study: ConfigDict,
    programs: dict[str, list[Use]],
    batch_size: int,
    root: pathlib.Path,
) -> list[turns.Contestant]:
    datasets: dict[str, Dataset] = {}
    contestants = []
    for use, *_ in (bar := tqdm(programs.values(), "compiling", unit="program")):
        bar.set_description(f"compiling {use.name}")
        settings = Settings.from_config(use_config(study, use, root))
        task, test = prepare(use, settings, datasets)
        directory = weights_of(use, use.seeds[0], root)
        variables = load_initial_variables(directory, settings.checkpoint.evaluate)
        variables = jax.device_put(variables)
        calls = [(variables, b) for b in prepared_batches(task, test, batch_size)]
        infer = first_output(cast(nn.Module, task.model))
        program, _ = compile_function(infer, calls[0])
        flops = benchmark.count_flops(infer, *calls[0]) / batch_size
        labels = {"parameters": count_parameters(variables)}
        contestants.append(turns.Contestant(use.name, flops, program, calls, labels))
    return contestants
