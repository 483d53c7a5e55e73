"""What a reproduction has decided: how long its runs are, in budget.json."""

import dataclasses
import pathlib
from typing import Any

from tokenjax import storage
from tokenjax.errors import UserError
from tokenjax.reproduction.budget import Cost, share
from tokenjax.study.plan import StudyRun

FILE = "budget.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What runs to what length, and why.

    Attributes:
      data, budget, seeds: as asked for; `budget` in minutes.
      images: that each run learns from.
      counts: training examples by condition and class.
      class_names: of the data.
      commit: of the program that began it, None where it is not known.
      costs: what the short runs measured, by model.
    """

    data: str
    budget: float
    seeds: list[int]
    images: int
    counts: dict[str, list[int]]
    class_names: list[str]
    commit: str | None = None
    costs: dict[str, Cost] = dataclasses.field(default_factory=dict)

    @property
    def examples(self) -> dict[str, int]:
        """Return the size of the training split by condition."""
        return {name: sum(counts) for name, counts in self.counts.items()}

    def with_length(self, images: int, costs: dict[str, Cost]) -> "Plan":
        """Return the same with another length and costs."""
        return dataclasses.replace(self, images=images, costs=costs)

    def expected_seconds(self, run: StudyRun) -> float:
        """Return about how long a run takes."""
        cost = self.costs[run.variant]
        return cost.start + share(run) * self.images * cost.per_image

    def describe(self, runs: int) -> str:
        """Return the line that says what is done."""
        epochs = {name: self.images / count for name, count in self.examples.items()}
        told = ", ".join(f"{name} {value:.2f}" for name, value in epochs.items())
        return (
            f"{runs} runs of {self.images:,} images each; epochs: {told}; "
            f"a budget of {self.budget:g} minutes"
        )

    def check_same(
        self, data: str, seeds: list[int], budget: float, root: pathlib.Path
    ) -> None:
        """Raise UserError if another reproduction is asked for than this one."""
        asked = {"data": data, "seeds": seeds, "budget": budget}
        for key, value in asked.items():
            own = getattr(self, key)
            if own != value:
                shown = ",".join(map(str, own)) if key == "seeds" else own
                raise UserError(
                    f"{root} holds a reproduction with --{key} {shown}; go on with "
                    "that, or name another --workdir"
                )

    def write(self, root: pathlib.Path) -> None:
        """Write it below the directory of the study."""
        storage.write_json(root / FILE, dataclasses.asdict(self))

    @classmethod
    def read(cls, root: pathlib.Path) -> "Plan":
        """Read it.

        Raises: UserError where there is none.
        """
        values: dict[str, Any] = storage.read_json(root / FILE)
        costs = {name: Cost(**each) for name, each in values.pop("costs").items()}
        return cls(**values, costs=costs)

    @classmethod
    def read_if_there(cls, root: pathlib.Path) -> "Plan | None":
        """Read it, or return None."""
        return cls.read(root) if (root / FILE).exists() else None
