"""All that the report is written from."""

import dataclasses
import pathlib
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from tokenjax.reproduction.costs import Costs
from tokenjax.reproduction.findings import Findings
from tokenjax.reproduction.plan_file import Plan
from tokenjax.study.plan import StudyRun, run_config

CIFAR = "cifar10"
WIDTH = 88


@dataclasses.dataclass(frozen=True)
class Material:
    """The study, how long its runs were, what they found and what the models cost."""

    study: ConfigDict
    runs: Sequence[StudyRun]
    plan: Plan
    findings: Findings
    costs: Costs
    figures: Mapping[str, str]

    @property
    def on_cifar(self) -> bool:
        """Return whether the data is the original's own."""
        return self.plan.data == CIFAR

    def figure(self, name: str, caption: str) -> str:
        """Return a figure in Markdown."""
        return f"![{caption}]({self.figures[name]})"

    def recipe(self, name: str) -> ConfigDict:
        """Return the training configuration of a model's balanced runs."""
        run = next(run for run in self.runs if run.variant == name)
        return run_config(self.study, run, pathlib.Path())

    def spread(self, values: np.ndarray) -> str:
        """Write values (seeds,), fractions, as percent: mean ± standard deviation."""
        mean = f"{100 * np.mean(values):.2f}"
        if len(values) < 2:
            return mean
        return f"{mean} ± {100 * np.std(values, ddof=1):.2f}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, of text."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def joined(words: Sequence[str]) -> str:
    """Return "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def prose(*sentences: str) -> str:
    """Return a paragraph, its lines broken anew; empty sentences are left out."""
    return _wrapped(" ".join(" ".join(sentences).split()), WIDTH)


def listed(sentences: Sequence[str]) -> str:
    """Return a list in Markdown, its lines broken."""
    wrapped = [_wrapped(sentence, WIDTH - 2) for sentence in sentences]
    return "\n".join("- " + text.replace("\n", "\n  ") for text in wrapped)


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
