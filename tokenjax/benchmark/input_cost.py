"""Measure how many images a second a data source hands to a device.

    python -m tokenjax.benchmark.input_cost
    python -m tokenjax.benchmark.input_cost --image_size 224 --processes 0,1,2,4
    python -m tokenjax.benchmark.input_cost --config vit:image_folder \
        --config.data.directory=PHOTOS

Without a configuration it makes photos (pieces of scikit-learn's two, 500 x 375, JPEG),
as a folder, as tar shards and as ArrayRecord shards, and measures all three.

    stages       of the processor's time, see `input_stages`
    images/s     of training batches, from the first to the last, by so many threads of
                 one process, or so many processes; other programs take their share
    core ms      of the processor's time for an image, all threads and processes
                 together: what other programs change little
    cores        that the wanted rate takes, by the core ms
"""

import math
import os
import pathlib
import runpy
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from absl import flags

from tokenjax import data, path_flags, storage, tables
from tokenjax.benchmark import cores, hardware, input_stages, photos
from tokenjax.benchmark.command_line import check_file, check_no_arguments
from tokenjax.data.dataset import Dataset
from tokenjax.data.shards.conversion import write_shards
from tokenjax.errors import UserError, unknown_name
from tokenjax.tables import Column
from tokenjax.training.observation.progress import note
from tokenjax.training.settings import Settings

SHARD_BYTES = 2**23
WANTED = 3000.0  # images a second: what one fast device takes at 224 pixels
KINDS = {"image_folder": "", "tar_shards": "tar", "array_record": "array_record"}
STATISTICS = {"mean": (0.5,), "std": (0.5,)}  # nothing to measure before


class Rate(NamedTuple):
    """Images a second of a source, by threads of one process or by processes."""

    source: str
    threads: int
    processes: int
    images_per_second: float
    core_seconds: float  # of an image
    first_batch: float  # seconds until it was there


RATES: tuple[Column[Rate], ...] = (
    Column("Source", lambda rate: rate.source),
    Column("Threads", lambda rate: rate.threads or None, "d"),
    Column("Processes", lambda rate: rate.processes or None, "d"),
    Column("Images/s", lambda rate: rate.images_per_second, ".0f"),
    Column("Core ms", lambda rate: 1e3 * rate.core_seconds, ".2f"),
    Column("Images/s of a core", lambda rate: 1 / rate.core_seconds, ".0f"),
    Column("First batch (s)", lambda rate: rate.first_batch, ".1f"),
)
Measured = tuple[str, input_stages.Stages]


def _milliseconds(stage: str) -> Column[Measured]:
    return Column(stage, lambda row: 1e3 * getattr(row[1], stage), ".3f")


STAGES: tuple[Column[Measured], ...] = (
    Column("Source", lambda row: row[0]),
    *map(_milliseconds, ("read", "decode", "resize", "stack", "transfer")),
    Column("Host, all", lambda row: 1e3 * row[1].per_image, ".2f"),
    Column("Images/s, one core", lambda row: 1 / row[1].per_image, ".0f"),
)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define what is measured."""
    options: Any = {"flag_values": values}
    flags.DEFINE_integer("image_size", 224, "without --config: pixels", 1, **options)
    flags.DEFINE_list(
        "sources", list(KINDS), "without --config: those measured", **options
    )
    flags.DEFINE_integer("images", 512, "that are made or measured", 16, **options)
    flags.DEFINE_integer("batches", 24, "of each rate, at least", 2, **options)
    flags.DEFINE_integer("batch_size", 64, "images of a batch", 1, **options)
    flags.DEFINE_list("threads", ["1", "2"], "Counts of threads.", **options)
    flags.DEFINE_list("processes", ["1", "2"], "Counts of processes.", **options)
    flags.DEFINE_float("wanted", WANTED, "images a second to tell of", 0.0, **options)
    path_flags.define("json", None, "Also write everything to this file.", values)


def main(argv: list[str], values: flags.FlagValues) -> None:
    """Measure, print the tables and write the file.

    Raises: UserError for whatever a user can mend.
    """
    check_no_arguments(argv)
    if values.json:
        check_file("json", values.json)
    for source in values.sources:
        if source not in KINDS:
            raise UserError(unknown_name("source to measure", source, KINDS))
    plans = [(n, 0) for n in _counts(values, "threads")]
    plans += [(0, n) for n in _counts(values, "processes")]
    print(hardware.describe())
    stages: list[Measured] = []
    rates: list[Rate] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, config in _sources(values, pathlib.Path(folder)):
            note(f"{name}: stages")
            stages.append(
                (name, input_stages.measure(data.load(config), values.images))
            )
            for threads, processes in plans:
                note(f"{name}: {threads or processes} {'threads' * bool(threads)}")
                rates.append(measure_rate(name, config, threads, processes, values))
    print("\nmilliseconds an image, one after another on one core")
    print("\n".join(tables.text_lines(stages, STAGES)))
    print(f"\nbatches of {values.batch_size}")
    print("\n".join(tables.text_lines(rates, RATES)))
    for rate in rates:
        need = math.ceil(values.wanted * rate.core_seconds)
        how = f"{rate.threads or rate.processes} "
        how += "threads" if rate.threads else "processes"
        print(
            f"{rate.source}, by {how}: {values.wanted:.0f} images/s take {need} cores"
        )
    if values.json:
        described = {
            "hardware": hardware.describe(),
            "cores": cores.count(),
            "stages": {name: found.__dict__ for name, found in stages},
            "rates": [rate._asdict() for rate in rates],
        }
        storage.write_json(pathlib.Path(values.json), described)


def _counts(values: flags.FlagValues, name: str) -> list[int]:
    given: list[str] = values[name].value or []
    words = [word for word in given if word != "0"]
    if not all(word.isdigit() for word in words):
        raise UserError(f"--{name} takes whole numbers, got {','.join(words)}")
    return [int(word) for word in words]


def _sources(
    values: flags.FlagValues, folder: pathlib.Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what is measured: names, and what `data.load` takes."""
    if values.config is not None:
        settings = Settings.from_config(values.config)
        yield str(settings.data["source"]), dict(settings.data)
        return
    common = {"image_size": values.image_size, **STATISTICS}
    photos.write_folder(folder / "photos", values.images)
    origin = {
        "source": "image_folder",
        "directory": str(folder / "photos"),
        "validation_fraction": 0.0,
        "test_fraction": 0.0,
        "cache_bytes": 0,
        **common,
    }
    whole = data.load(origin)
    for source in values.sources:
        kind = KINDS[source]
        if not kind:
            yield source, origin
            continue
        write_shards(whole, folder / kind, kind, SHARD_BYTES, 0)
        given = {"source": source, "directory": str(folder / kind), **common}
        yield source, {**given, "validation_fraction": 0.0, "test_fraction": 0.0}


def measure_rate(
    name: str,
    config: dict[str, Any],
    threads: int,
    processes: int,
    values: flags.FlagValues,
) -> Rate:
    """Measure training batches of a source made in one way.

    The time begins when the first batch is there; so many batches follow that what was
    made ahead matters little.
    """
    own = {"num_threads": threads} if threads else {}
    dataset: Dataset = data.load({**config, **own})
    batches = max(values.batches, 12 * processes)
    stream = data.train_batches(
        dataset.train, 0, values.batch_size, 0, 10 * batches, processes=processes
    )
    begin = time.perf_counter()
    next(stream)
    start, before = time.perf_counter(), _processor_seconds()
    images = sum(len(next(stream)["label"]) for _ in range(batches))
    seconds, used = time.perf_counter() - start, _processor_seconds() - before
    stream.close()
    return Rate(
        name, threads, processes, images / seconds, used / images, start - begin
    )


def _processor_seconds() -> float:
    """Return what this process and those it started have used so far."""
    children = [
        pid
        for path in pathlib.Path("/proc/self/task").glob("*/children")
        for pid in path.read_text().split()
    ]
    ticks = 0
    for pid in children:
        stat = pathlib.Path("/proc", pid, "stat").read_text()
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # in user mode, in the kernel
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    runpy.run_module("tokenjax.commands.input_cost", run_name="__main__")
