"""Time and memory of the retrieval evaluation, on seeded features.

    python -m tokenjax.benchmark.retrieval
    python -m tokenjax.benchmark.retrieval --queries 10000 --gallery 100000 --dim 768
    python -m tokenjax.benchmark.retrieval --queries 500 --gallery 4000 --check

An identity is a random vector, an image this vector and noise. --check ranks the
gallery for a few queries again, in numpy and float64, and compares their AP.
"""

import resource
import runpy
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from tokenjax.benchmark import command_line, hardware
from tokenjax.errors import UserError
from tokenjax.evaluation import retrieval

CHUNK = 8192  # features made, or compared in float64, at a time
# float32 may swap neighbours in a ranking whose distances differ by their last bit.
TOLERANCE = 1e-3


class Side(NamedTuple):
    """Queries or gallery: features (n, d) float32, ids and cameras (n,)."""

    features: np.ndarray
    ids: np.ndarray
    cameras: np.ndarray


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags; call it once, before they are parsed."""
    options: Any = {"flag_values": values}
    flags.DEFINE_integer("queries", 1000, "Query images.", 1, **options)
    flags.DEFINE_integer("gallery", 10000, "Gallery images.", 1, **options)
    flags.DEFINE_integer("dim", 768, "Values of a feature.", 1, **options)
    flags.DEFINE_integer(
        "per_identity", 20, "Gallery images of an identity, on average.", 1, **options
    )
    flags.DEFINE_integer("cameras", 6, "Cameras.", 2, **options)
    flags.DEFINE_float(
        "noise", 2.2, "Deviation within an identity; 1 between them.", 0, **options
    )
    flags.DEFINE_integer("seed", 0, "Of the features.", 0, **options)
    flags.DEFINE_integer(
        "block_rows", retrieval.BLOCK_ROWS, "Queries at a time.", 1, **options
    )
    flags.DEFINE_bool("check", False, "Compare with numpy in float64.", **options)
    flags.DEFINE_integer(
        "check_queries", 16, "Queries that --check compares.", 1, **options
    )


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Makes features, evaluates them, prints seconds, memory and metrics.

    Raises:
      UserError: a flag that does not fit, or no query has a match.
      RuntimeError: --check found another ranking.
    """
    command_line.check_no_arguments(argv)
    options = values.flag_values_dict()
    queries, gallery = make_sides(options)
    print(
        f"{options['queries']} queries x {options['gallery']} gallery images x "
        f"{options['dim']} values; hardware: {hardware.describe()}; "
        f"jax {jax.__version__}; before: {peak_memory() / 2**30:.2f} GiB"
    )
    with tqdm(total=options["queries"], unit="query") as bar:
        start = time.perf_counter()
        found = retrieval.evaluate_retrieval(
            queries.features,
            gallery.features,
            queries.ids,
            gallery.ids,
            queries.cameras,
            gallery.cameras,
            block_rows=options["block_rows"],
            progress=bar.update,
        )
        seconds = time.perf_counter() - start
    summary = found.summary()
    print(
        f"{seconds:.1f} s, compilation included; "
        f"peak resident memory {peak_memory() / 2**30:.2f} GiB"
    )
    print(
        f"mAP {summary['mAP']:.2%}, mINP {summary['mINP']:.2%}, "
        f"rank-1 {summary['rank1']:.2%} of {summary['valid_queries']} queries "
        f"with a match"
    )
    if options["check"]:
        print(check(queries, gallery, found, options["check_queries"], options["seed"]))


def make_sides(options: dict[str, Any]) -> tuple[Side, Side]:
    """Seeded queries and gallery; an identity is random and so is a camera.

    Raises:
      UserError: not even one identity.
    """
    rng = np.random.default_rng(options["seed"])
    identities = options["gallery"] // options["per_identity"]
    if not identities:
        raise UserError("--per_identity must not be above --gallery")
    centers = rng.standard_normal((identities, options["dim"]), np.float32)
    sides = []
    for count in (options["queries"], options["gallery"]):
        ids = rng.integers(0, identities, count)
        features = np.empty((count, options["dim"]), np.float32)
        for start in range(0, count, CHUNK):
            part = features[start : start + CHUNK]
            rng.standard_normal(dtype=np.float32, out=part)
            part *= options["noise"]
            part += centers[ids[start : start + CHUNK]]
        sides.append(Side(features, ids, rng.integers(0, options["cameras"], count)))
    return sides[0], sides[1]


def check(
    queries: Side, gallery: Side, found: retrieval.Retrieval, count: int, seed: int
) -> str:
    """Compares the AP of `count` queries, chosen at random, with `plain_precision`.

    Raises:
      RuntimeError: they differ by more than rounding.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(queries.ids), min(count, len(queries.ids)), replace=False)
    plain = plain_precision(Side(*(values[chosen] for values in queries)), gallery)
    ours = found.average_precision[chosen]
    same = np.array_equal(np.isnan(ours), np.isnan(plain))
    known = ~np.isnan(plain)
    difference = np.abs(ours - plain)[known].max(initial=0.0) if same else np.inf
    sentence = (
        f"check: AP of {len(chosen)} queries in float64: "
        f"largest difference {difference:.1e}"
    )
    if difference > TOLERANCE:
        raise RuntimeError(f"{sentence}, above {TOLERANCE:.0e}")
    return sentence


def plain_precision(queries: Side, gallery: Side) -> np.ndarray:
    """AP of every query, nan where it has no match, by sorting, in float64; (q,)."""
    units = _unit(queries.features)
    distances = np.empty((len(units), len(gallery.ids)))  # (q, g)
    for start in range(0, len(gallery.ids), CHUNK):
        theirs = _unit(gallery.features[start : start + CHUNK])
        distances[:, start : start + CHUNK] = 2 - 2 * units @ theirs.T
    found = []
    for row, identity, camera in zip(
        distances, queries.ids, queries.cameras, strict=True
    ):
        order = np.argsort(row, kind="stable")
        same = gallery.ids[order] == identity
        relevant = same[~(same & (gallery.cameras[order] == camera))]
        ranks = 1 + np.flatnonzero(relevant)
        positions = np.arange(1, len(ranks) + 1)
        found.append((positions / ranks).mean() if len(ranks) else np.nan)
    return np.array(found)


def _unit(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float64)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def peak_memory() -> int:
    """Bytes: the most that was resident of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.retrieval_cost", run_name="__main__")
