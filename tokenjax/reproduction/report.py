"""Writes the report of a reproduction, whole, from what was measured.

No sentence on a result stands here as it is: each is chosen by the numbers.
"""

import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from tokenjax import storage
from tokenjax.reproduction import conclusion, costs, figures, results, sections
from tokenjax.reproduction.findings import Findings
from tokenjax.reproduction.material import Material
from tokenjax.reproduction.plan_file import Plan
from tokenjax.study.plan import StudyRun


def write(
    study: ConfigDict,
    runs: Sequence[StudyRun],
    plan: Plan,
    root: pathlib.Path,
    output: pathlib.Path,
) -> None:
    """Measure what is not measured yet, draw the figures and write the report."""
    findings = Findings(study, runs, root)
    measured = costs.read_or_measure(study, runs, root)
    output.parent.mkdir(parents=True, exist_ok=True)
    drawn = figures.draw_all(study, runs, plan, findings, root, output.parent)
    material = Material(study, runs, plan, findings, measured, drawn)
    text = "\n\n".join(
        [
            sections.head(material),
            sections.background(),
            sections.architectures(material),
            sections.settings(material),
            *results.all_results(material),
            conclusion.conclude(material),
        ]
    )
    with storage.replacing(output) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
