"""Measure what a start on very many examples costs, simulated: an index as large.

    python -m tokenjax.benchmark.index_cost
    python -m tokenjax.benchmark.index_cost --examples 1000000 --shards 100

One real tar shard of tiny pictures is written, and the others are other names of the
same file (hard links), so that every example can be read; the index is made of the
listing of that one, over and over, as indexing all of them would make it. Then a
process of its own loads the set (train and validation), draws the order of training
batches, reads one, and says what it took: seconds, and its memory at the most. Mapped
pages of the index count in that.

    start     importing, opening the index, sizes of all shards, mean and std
    order     of one batch of the first epoch, and of one of a later one
    batch     one read whole
"""

import json
import os
import pathlib
import resource
import runpy
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from tqdm import tqdm

from tokenjax import path_flags, storage
from tokenjax.benchmark import hardware
from tokenjax.benchmark.command_line import check_file, check_no_arguments
from tokenjax.data.encoded import encode_png
from tokenjax.data.shards import index_places, indexing, shard_index, tar_files
from tokenjax.errors import UserError

BYTES_PER_EXAMPLE = 16
CLASSES = 1000
BATCH = 4096
SECONDS, GIBIBYTES = 10.0, 1.0  # what a start may take
VALIDATION = 50_000
FIELD = 28  # pixels a side
MOST_LINKS = 60_000  # of one file: ext4 allows 65,000


class Plan(NamedTuple):
    """A set: `shards` of `per_shard` examples for training, one for validation."""

    shards: int
    per_shard: int

    @property
    def examples(self) -> int:
        """Return the training examples."""
        return self.shards * self.per_shard


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define how large the set is."""
    options: Any = {"flag_values": values}
    flags.DEFINE_integer("examples", 10**8, "for training", 1, **options)
    flags.DEFINE_integer("shards", 10_000, "that they lie in", 1, MOST_LINKS, **options)
    path_flags.define("folder", None, "for what is made; else a temporary one", values)
    path_flags.define("json", None, "Also write everything to this file.", values)


def main(argv: list[str], values: flags.FlagValues) -> None:
    """Simulate, print what a start took, and end with status 1 if it was too much.

    Raises: UserError for a set that cannot be simulated here.
    """
    check_no_arguments(argv)
    if values.json:
        check_file("json", values.json)
    if values.examples % values.shards:
        raise UserError("--examples must be a multiple of --shards")
    plan = Plan(values.shards, values.examples // values.shards)
    with tempfile.TemporaryDirectory(dir=values.folder) as made:
        root = pathlib.Path(made)
        _check_room(root, plan)
        start = time.perf_counter()
        seconds = simulate(root, plan)
        made_in = time.perf_counter() - start
        size = sum(p.stat().st_size for p in root.rglob(shard_index.ENTRIES_FILE))
        found = _measure_apart(root)
    found |= {
        "examples": plan.examples,
        "shards": plan.shards,
        "index_bytes": size,
        "listing_seconds_per_example": seconds,
        "hardware": hardware.describe(),
    }
    print(describe(found, made_in))
    if values.json:
        storage.write_json(pathlib.Path(values.json), found)
    within = found["start"] <= SECONDS and found["peak_bytes"] <= GIBIBYTES * 2**30
    sys.exit(0 if within else 1)


def describe(found: dict[str, Any], made_in: float) -> str:
    """Return what was found, in lines."""
    listing = found["listing_seconds_per_example"] * found["examples"]
    return "\n".join(
        [
            f"{found['examples']:,} examples in {found['shards']:,} shards: index "
            f"{found['index_bytes'] / 2**30:.2f} GiB, simulated in {made_in:.0f} s "
            f"(listing real shards would take {listing / 60:.0f} core-minutes)",
            f"start {found['start']:.1f} s, of which imports {found['imports']:.1f} s",
            f"order of a batch of {BATCH:,}: {1e3 * found['order']:.0f} ms, of a later "
            f"epoch {1e3 * found['later_order']:.0f} ms",
            f"first batch of 256 read in {1e3 * found['batch']:.0f} ms",
            f"peak memory {found['peak_bytes'] / 2**20:.0f} MiB",
            f"hardware: {found['hardware']}",
        ]
    )


def _check_room(root: pathlib.Path, plan: Plan) -> None:
    needed = 2 * BYTES_PER_EXAMPLE * plan.examples
    status = os.statvfs(root)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise UserError(
            f"{root} has {free / 2**30:.1f} GiB free and {needed / 2**30:.1f} GiB are "
            "needed: --folder names another place, --examples fewer"
        )


def simulate(root: pathlib.Path, plan: Plan) -> float:
    """Make shards and their index; return the seconds an example took to list."""
    one = root / "train-000000.tar"
    _write_shard(one, plan.per_shard)
    for number in tqdm(range(1, plan.shards), "linking", unit="shard", leave=False):
        os.link(one, root / f"train-{number:06d}.tar")
    os.link(one, root / "val-000000.tar")
    start = time.perf_counter()
    listing = tar_files.list_tar(one, "label")
    seconds = (time.perf_counter() - start) / plan.per_shard
    names = [f"train-{number:06d}.tar" for number in range(plan.shards)]
    size = one.stat().st_size
    parts = {
        "train": dict.fromkeys(names, size),
        "validation": {"val-000000.tar": size},
    }
    folder = root / index_places.OWN_FOLDER
    place = folder / shard_index.digest_sizes("tar", parts, "label")[:32]
    place.mkdir(parents=True)
    indexing.write_index(
        place,
        root,
        parts,
        tqdm(
            (listing for _ in range(plan.shards + 1)),
            "indexing",
            plan.shards + 1,
            leave=False,
        ),
        {"kind": "tar", "label_key": "label"},
    )
    return seconds


def _write_shard(path: pathlib.Path, count: int) -> None:
    """Write a shard of `count` tiny pictures of `CLASSES` classes."""
    import io

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (64, FIELD, FIELD, 3), np.uint8)
    images[:] = images[:, :1, :1]  # of one colour: small files
    files = [encode_png(image) for image in images]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number in tqdm(range(count), "shard", unit="image", leave=False):
            label = str(number % CLASSES).encode()
            for name, content in (
                (f"{number:08d}.png", files[number % len(files)]),
                (f"{number:08d}.cls", label),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def _measure_apart(root: pathlib.Path) -> dict[str, Any]:
    """Load the set in a process of its own; return what it says of itself."""
    program = (
        f"from tokenjax.benchmark import index_cost; index_cost.load({str(root)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"the set could not be loaded: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def load(directory: str) -> None:
    """Load the set in this process, and print what it took as JSON."""
    begun = _seconds_alive()
    from tokenjax import data

    imported = _seconds_alive()
    dataset = data.load(
        {"source": "tar_shards", "directory": directory, "image_size": FIELD}
    )
    assert data.digest(dataset.train)
    start = _seconds_alive()
    times = []
    for step in (0, 3 * len(dataset.train) // BATCH):
        data.train_indices(0, 0, 1, len(dataset.train))  # Grain is imported
        begin = time.perf_counter()
        data.train_indices(0, step, BATCH, len(dataset.train))
        times.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    next(data.train_batches(dataset.train, 0, 256, 0, 1))
    batch = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        json.dumps(
            {
                "imports": imported,
                "begun": begun,
                "start": start,
                "order": times[0],
                "later_order": times[1],
                "batch": batch,
                "peak_bytes": peak,
            }
        )
    )


def _seconds_alive() -> float:
    """Return how long ago this process started."""
    fields = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.index_cost", run_name="__main__")
