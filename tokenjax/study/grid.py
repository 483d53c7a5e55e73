"""An ablation: a configuration and alternatives to some of its values, as a study.

A training configuration's section `ablation`:

    axes       {"model": {"threshold": (0.1, 0.5), ...}, "routing": {...}, ...}: for
               each setting a tuple of alternatives
    grid       "one_at_a_time": the configuration itself, and each alternative alone;
               "product": every combination;
               "named": the configuration itself, and what `variants` has in place of
               `axes`: a name -> sections laid over the configuration
    seeds, columns, latency_batch_size: see `tokenjax.study.plan`
"""

import itertools

from ml_collections import ConfigDict

from tokenjax import configuration
from tokenjax.errors import UserError

GRIDS = ("one_at_a_time", "product", "named")
BASE = "base"
_KEYS = {"grid", "seeds", "columns", "latency_batch_size"}


def make_study(config: ConfigDict) -> ConfigDict:
    """Make the study that a training configuration's `ablation` describes.

    See `tokenjax.study.plan` for a study's keys.

    Raises: UserError for a configuration without one, or with an axis that it lacks.
    """
    ablation = config.get("ablation")
    if not ablation:
        raise UserError(
            "config: there is no section ablation; it says what to vary "
            "(configs/routing.py has one)"
        )
    grid = ablation.get("grid")
    if grid not in GRIDS:
        raise UserError(f"config: ablation.grid must be one of {GRIDS}, got {grid!r}")
    named = grid == "named"
    keys = _KEYS | {"variants" if named else "axes"}
    if set(ablation) != keys:
        raise UserError(
            f"config: ablation has the keys {sorted(keys)}, got {sorted(ablation)}"
        )
    base = config.copy_and_resolve_references()
    configuration.complete(base)  # what the file does not name can vary too
    with base.unlocked():
        base.ablation = ConfigDict({})
    if named:
        _check_overlays(ablation.variants, base)
        variants = {BASE: {}, **ablation.variants.to_dict()}
    else:
        variants = _from_axes(ablation, base)
    return ConfigDict(
        {
            "reference": BASE,
            "seeds": ablation.seeds,
            "columns": ablation.columns,
            "latency_batch_size": ablation.latency_batch_size,
            "datasets": {base.data.source: base},
            "variants": ConfigDict(variants, allow_dotted_keys=True),
        }
    )


def _from_axes(ablation: ConfigDict, base: ConfigDict) -> dict[str, dict]:
    """Return sections to lay over the configuration, named by what they change."""
    axes = _axes(ablation.axes, base, ())
    combinations: list[tuple] = [()]
    if ablation.grid == "product":
        combinations = list(itertools.product(*axes))
    else:
        combinations += [(choice,) for axis in axes for choice in axis[1:]]
    variants: dict[str, dict] = {}
    for combination in combinations:
        changed = [choice for choice in combination if choice[1] != _NO_CHANGE]
        name = " ".join(f"{path[-1]}={value}" for path, value in changed) or BASE
        variants[name.replace("/", "_")] = _overlay(changed)
    return variants


def _check_overlays(variants: ConfigDict, base: ConfigDict) -> None:
    for name, overlay in variants.items():
        if "/" in name or name == BASE:
            raise UserError(f"config: ablation.variants: {name!r} cannot be a name")
        for section, values in overlay.items():
            if section not in base:
                raise UserError(f"config: ablation.variants.{name}: no key {section}")
            for key in values if hasattr(values, "items") else ():
                if key not in base[section]:
                    where = f"{section}.{key}"
                    raise UserError(f"config: ablation.variants.{name}: no key {where}")


_NO_CHANGE = object()
_Choice = tuple[tuple[str, ...], object]  # where in the configuration, and what there


def _axes(
    axes: ConfigDict, base: ConfigDict, path: tuple[str, ...]
) -> list[list[_Choice]]:
    """Return for each setting the choices, first the configuration's own."""
    found = []
    for key, alternatives in axes.items():
        here = (*path, key)
        if key not in base:
            raise UserError(f"config: ablation.axes: no key {'.'.join(here)}")
        if hasattr(alternatives, "items"):
            found += _axes(alternatives, base[key], here)
            continue
        if not isinstance(alternatives, tuple | list) or not alternatives:
            raise UserError(
                f"config: ablation.axes.{'.'.join(here)} must be a tuple of "
                f"alternatives, got {alternatives!r}"
            )
        others = [value for value in alternatives if value != base[key]]
        found.append([(here, _NO_CHANGE), *((here, value) for value in others)])
    return found


def _overlay(changed: list[_Choice]) -> dict:
    """Nest the values changed in their sections."""
    overlay: dict = {}
    for path, value in changed:
        section = overlay
        for key in path[:-1]:
            section = section.setdefault(key, {})
        section[path[-1]] = value
    return overlay
