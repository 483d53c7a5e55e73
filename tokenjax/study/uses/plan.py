"""A study's section `uses`: trained weights, each used as it was trained or otherwise.

    batch_sizes   of the latencies, each a panel of the figure
    reference     the name of the use that the others of its comparison are divided by
    comparisons   name -> uses, by name, all of them timed in turns. A use:
                    run     the variant whose weights it takes
                    model   arguments of the model laid over the variant's own
                    line    what it belongs to: points of a line are joined
                    against the use that its accuracy is held against, where that is
                            not the reference: the one fine-tuned as long, say
                    tuned   whether the weights were trained with these arguments
                    rival   whether it is one of what the others are held against

Nothing is trained by them: what needs training is a variant of the study.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from tokenjax.errors import UserError, unknown_name
from tokenjax.study.plan import StudyRun, run_config, seeds_of

KEYS = {"batch_sizes", "reference", "comparisons"}
_USE_KEYS = {"run", "model", "line", "against", "tuned", "rival"}
FOLDER = "uses"  # below the study's directory


@dataclasses.dataclass(frozen=True)
class Use:
    """Weights of a variant, and how they are used.

    Attributes:
      dataset, comparison, name: where it stands in the study.
      run: the variant whose weights it takes.
      seeds: of the weights that there are.
      line, against, tuned, rival: see the module.
      model: arguments laid over the variant's own.
    """

    dataset: str
    comparison: str
    name: str
    run: str
    seeds: tuple[int, ...]
    line: str
    against: str = ""
    tuned: bool = False
    rival: bool = False
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return what it is called in files: "digits/49 tokens/tome:r=8"."""
        return f"{self.dataset}/{self.comparison}/{self.name}"

    def about(self) -> dict[str, Any]:
        """Return what a measured number depends on, as JSON has it."""
        return {"run": self.run, "model": {k: str(v) for k, v in self.model.items()}}


def list_uses(study: ConfigDict) -> dict[tuple[str, str], list[Use]]:
    """Return the uses of each (dataset, comparison), the reference first.

    Raises: UserError for a section that is not as the module says.
    """
    section = study.uses
    if set(section) != KEYS:
        raise UserError(f"uses has the keys {sorted(KEYS)}, got {sorted(section)}")
    sizes = section.batch_sizes
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise UserError(f"uses.batch_sizes must be whole numbers above 0, got {sizes}")
    found = {}
    for dataset in study.datasets:
        for comparison, uses in section.comparisons.items():
            if section.reference not in uses:
                sentence = unknown_name("use", section.reference, list(uses))
                raise UserError(f"uses.reference in {comparison}: {sentence}")
            names = [section.reference]
            names += [name for name in uses if name != section.reference]
            read = [
                _read_use(study, dataset, comparison, name, uses[name].to_dict())
                for name in names
            ]
            _check_against(read)
            found[dataset, comparison] = read
    return found


def use_config(study: ConfigDict, use: Use, root: pathlib.Path) -> ConfigDict:
    """Return the configuration of a use: its run's, with its own arguments.

    What is dropped in training alone is 0, so that equal programs are told as such.
    """
    run = StudyRun(use.dataset, use.run, use.seeds[0])
    config = run_config(study, run, root)
    with config.unlocked():
        config.model.update({k: 0.0 for k in config.model if k.endswith("drop_rate")})
        config.model.update(use.model)
        config.init_from, config.init_changes = "", ()
    return config


def weights_of(use: Use, seed: int, root: pathlib.Path) -> pathlib.Path:
    """Return the directory of the run whose weights a use takes."""
    return StudyRun(use.dataset, use.run, seed).workdir(root)


def _read_use(
    study: ConfigDict, dataset: str, comparison: str, name: str, given: dict[str, Any]
) -> Use:
    """Return a use.

    Raises: UserError for an unknown key, or a variant that the study has not.
    """
    where = f"uses.comparisons.{comparison}.{name}"
    for key in given:
        if key not in _USE_KEYS:
            raise UserError(f"{where}: {unknown_name('key', key, _USE_KEYS)}")
    for key in ("run", "line"):
        if key not in given:
            raise UserError(f"{where}: {key} is missing")
    if given["run"] not in study.variants:
        names = list(study.variants)
        raise UserError(f"{where}.run: {unknown_name('variant', given['run'], names)}")
    given.setdefault("against", study.uses.reference)
    seeds = seeds_of(study, given["run"])
    return Use(dataset, comparison, name, seeds=seeds, **given)


def _check_against(uses: list[Use]) -> None:
    """Raise UserError for a use held against none, or one without its seeds."""
    by_name = {use.name: use for use in uses}
    for use in uses:
        where = f"uses.comparisons.{use.comparison}.{use.name}.against"
        if use.against not in by_name:
            raise UserError(f"{where}: {unknown_name('use', use.against, by_name)}")
        missing = set(use.seeds) - set(by_name[use.against].seeds)
        if missing:
            raise UserError(
                f"{where}: {use.against} has no weights of seeds {sorted(missing)}"
            )
