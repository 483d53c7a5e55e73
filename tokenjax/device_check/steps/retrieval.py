"""The retrieval evaluation on seeded features, and its ranking in float64."""

import jax

from tokenjax.benchmark import retrieval as benchmark
from tokenjax.device_check.findings import Findings
from tokenjax.device_check.task import Task
from tokenjax.evaluation import retrieval

SIZES = {"queries": 1000, "gallery": 10000, "dim": 768}
TINY = {"queries": 40, "gallery": 400, "dim": 16}
REST = {"per_identity": 20, "cameras": 6, "noise": 2.2, "seed": 0}
CHECKED = 16  # queries that are ranked again


def find(task: Task, findings: Findings) -> None:
    """Rank twice, the second time without compiling, and check the ranking."""
    # As `evaluate_retrieval` is used: features are compared in float32.
    options = {**(TINY if task.tiny else SIZES), **REST}
    findings.add(**options)
    queries, gallery = benchmark.make_sides(options)
    seconds = {}
    for which in ("first", "second"):
        before = findings.seconds()
        found = retrieval.evaluate_retrieval(
            queries.features,
            gallery.features,
            queries.ids,
            gallery.ids,
            queries.cameras,
            gallery.cameras,
        )
        seconds[which] = findings.seconds() - before
        findings.add(seconds=dict(seconds))
    summary = found.summary()
    findings.add(mAP=summary["mAP"], rank1=summary["rank1"])
    try:
        sentence = benchmark.check(queries, gallery, found, CHECKED, seed=0)
    except RuntimeError as error:
        findings.fail(str(error))
        return
    findings.add(check=sentence)
    findings.say(
        f"{options['queries']} x {options['gallery']} in {seconds['second']:.2f} s on "
        f"{jax.devices()[0].device_kind}, {sentence}"
    )
