"""What a study's configuration asks for, as single runs."""

import dataclasses
import pathlib
from typing import Any

from tokenjax.errors import UserError

_KEYS = {"reference", "seeds", "latency_batch_size", "datasets", "variants"}


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """One run: a variant of the model on a dataset with a seed."""

    dataset: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """ "digits/recorded/0", also its directory."""
        return f"{self.dataset}/{self.variant}/{self.seed}"

    def workdir(self, root: pathlib.Path) -> pathlib.Path:
        """Where it trains."""
        return root / self.dataset / self.variant / str(self.seed)


def plan(study: Any) -> list[StudyRun]:
    """All runs, seed by seed, so that a table of one seed is there early.

    Raises: UserError if the configuration is not a study's.
    """
    if set(study) != _KEYS:
        raise UserError(f"a study has the keys {sorted(_KEYS)}, got {sorted(study)}")
    if study.reference not in study.variants:
        raise UserError(
            f"reference {study.reference!r} is none of the variants "
            f"{sorted(study.variants)}"
        )
    return [
        StudyRun(dataset, variant, seed)
        for seed in study.seeds
        for dataset in study.datasets
        for variant in study.variants
    ]


def run_config(study: Any, run: StudyRun) -> Any:
    """The training configuration of one run."""
    import ml_collections

    config = study.datasets[run.dataset].copy_and_resolve_references()
    overlay = study.variants[run.variant].to_dict()
    if "name" in overlay:
        base = {"patch_size": config.model.patch_size}
    else:
        base = config.model.to_dict()
    config.model = ml_collections.ConfigDict(base | overlay)
    config.seed = run.seed
    return config
