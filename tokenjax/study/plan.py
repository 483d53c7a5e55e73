"""What a study's configuration asks for, as single runs.

    reference            the variant that latencies are divided by
    seeds                of the runs of every variant
    columns              of the table, by the names of `tokenjax.study.metrics`
    latency_batch_size   0: latencies are not measured
    datasets             name -> a whole training configuration
    variants             name -> sections laid over it; besides them
                           teacher_run   the variant whose run is this one's teacher
                           init_from_run the variant whose run this one starts from
                           weights_from  the variant whose run is evaluated here,
                                         nothing is trained
                           seeds         those of the study's that it is run with;
                                         all where it is left out

    uses                 trained weights put to uses, see `tokenjax.study.uses.plan`;
                         may be left out

A variant's "model" that has a name and more replaces the dataset's, but for its
patch_size; a name alone changes the name alone.
"""

import dataclasses
import pathlib

from ml_collections import ConfigDict

from tokenjax import configuration, models
from tokenjax.errors import UserError, unknown_name
from tokenjax.study.metrics import METRICS

_KEYS = {
    "reference",
    "seeds",
    "columns",
    "latency_batch_size",
    "datasets",
    "variants",
}
_LINKS = ("teacher_run", "init_from_run", "weights_from")


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """One run: a variant of the model on a dataset with a seed."""

    dataset: str
    variant: str
    seed: int
    needs: str = ""  # the variant whose run must be finished first
    trains: bool = True

    @property
    def name(self) -> str:
        """Return "digits/recorded/0", also its directory."""
        return f"{self.dataset}/{self.variant}/{self.seed}"

    def workdir(self, root: pathlib.Path) -> pathlib.Path:
        """Return where it trains."""
        return root / self.dataset / self.variant / str(self.seed)

    def needed(self, root: pathlib.Path) -> pathlib.Path | None:
        """Return the workdir of the run that must be finished first."""
        if not self.needs:
            return None
        return root / self.dataset / self.needs / str(self.seed)


def plan(study: ConfigDict) -> list[StudyRun]:
    """Return all runs, seed by seed, so that a table of one seed is there early.

    Raises: UserError if the configuration is not a study's.
    """
    if set(study) - {"uses"} != _KEYS:
        raise UserError(f"a study has the keys {sorted(_KEYS)}, got {sorted(study)}")
    for column in study.columns:
        if column not in METRICS:
            raise UserError(unknown_name("column of a study", column, METRICS))
    _check_variant(study, study.reference, "reference")
    runs = []
    for seed in study.seeds:
        for dataset in study.datasets:
            for name, variant in study.variants.items():
                if seed not in seeds_of(study, name):
                    continue
                links = [key for key in _LINKS if key in variant]
                for key in links:
                    _check_variant(study, variant[key], f"{key} of {name}")
                needs = variant[links[0]] if links else ""
                trains = "weights_from" not in variant
                runs.append(StudyRun(dataset, name, seed, needs, trains))
    return runs


def seeds_of(study: ConfigDict, variant: str) -> tuple[int, ...]:
    """Return the seeds that a variant is run with.

    Raises: UserError if the study has none of them.
    """
    own = study.variants[variant].get("seeds", study.seeds)
    seeds = tuple(seed for seed in study.seeds if seed in own)
    if not seeds:
        raise UserError(
            f"seeds of {variant}: none of {tuple(own)} is one of the study's, "
            f"{tuple(study.seeds)}"
        )
    return seeds


def run_config(study: ConfigDict, run: StudyRun, root: pathlib.Path) -> ConfigDict:
    """Return the training configuration of one run of the study below `root`."""
    config = study.datasets[run.dataset].copy_and_resolve_references()
    overlay = study.variants[run.variant].to_dict()
    for key in (*_LINKS, "seeds"):
        overlay.pop(key, None)
    model = overlay.pop("model", {})
    kept = {k: v for k, v in config.model.items() if k == "patch_size"}
    base = kept if _other_model(model) else config.model.to_dict()
    name = model.get("name", base.get("name"))
    if base.get("name", name) != name:  # what the other does not take is dropped
        base = configuration.change_name("model", base, name)
    config.model = ConfigDict(base | model)
    config.update(overlay)
    config.seed = run.seed
    needed = run.needed(root)
    if "teacher_run" in study.variants[run.variant]:
        config.distillation.teacher = str(needed)
    elif "init_from_run" in study.variants[run.variant]:
        config.init_from = str(needed)
    return config


def changed_arguments(study: ConfigDict, run: StudyRun) -> list[str]:
    """Return what of its model a run has otherwise than the one whose weights it takes.

    Arguments that change nothing of what weights mean are passed over.
    """
    nowhere = pathlib.Path()
    theirs = dataclasses.replace(run, variant=run.needs, needs="")
    one, other = (
        configuration.completed(run_config(study, each, nowhere).to_dict())["model"]
        for each in (run, theirs)
    )
    known = models.arguments(one["name"]).values()
    return [a.name for a in known if a.of_weights and one[a.name] != other.get(a.name)]


def _other_model(model: dict[str, object]) -> bool:
    return "name" in model and len(model) > 1


def _check_variant(study: ConfigDict, name: str, key: str) -> None:
    if name not in study.variants:
        raise UserError(f"{key}: {unknown_name('variant', name, list(study.variants))}")
