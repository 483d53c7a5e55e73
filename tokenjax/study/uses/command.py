"""Measure the uses of a study whose runs are finished, and write what came out."""

import pathlib

from ml_collections import ConfigDict

from tokenjax.study.uses import accuracy, latency, report
from tokenjax.study.uses.plan import list_uses


def measure_uses(study: ConfigDict, root: pathlib.Path) -> pathlib.Path:
    """Measure what is missing: accuracies first, then latencies; return the directory.

    Raises: UserError.
    """
    compared = list_uses(study)
    found: accuracy.Found = {}
    for uses in compared.values():
        found = accuracy.measure(study, uses, root)
    rows = {}
    for key, uses in compared.items():
        times = {
            size: latency.measure(study, uses, size, root)
            for size in study.uses.batch_sizes
        }
        rows[key] = report.make_rows(study, uses, found, times)
    images = max(each["images"] for each in found.values())
    return report.write(study, rows, images, root)
