"""What imbalance costs, and what the answers to it are worth."""

import numpy as np

from tokenjax.reproduction.claims import CLAIMS
from tokenjax.reproduction.differences import Difference, paired
from tokenjax.reproduction.jobs import BALANCED, CONDITIONS, IMBALANCED
from tokenjax.reproduction.material import Material
from tokenjax.reproduction.verdicts import FAILS, HOLDS, UNKNOWN, Verdict


def cost_of_imbalance(material: Material) -> Verdict:
    """Say what thinning costs, over all networks and seeds."""
    found = _answered(material, IMBALANCED, BALANCED)
    return Verdict(
        "imbalance costs accuracy",
        _judge(found, wanted=-1),
        f"*{IMBALANCED}* against *{BALANCED}*: {found.points()} points of accuracy, "
        f"{found.told()}.",
    )


def answer(material: Material, name: str) -> Verdict:
    """Judge an answer against none, over all networks and seeds."""
    found = _answered(material, name, IMBALANCED)
    f1 = _answered(material, name, IMBALANCED, "macro_f1")
    title = name.replace("_", " ")
    return Verdict(
        f"{title} help against imbalance"
        if name == "class_weights"
        else f"{title} helps",
        _judge(found, wanted=1),
        f"*{title}*: {found.points()} points of accuracy, {found.told()}; macro F1 "
        f"{f1.points()}.",
    )


def best_answer(material: Material) -> str:
    """Say which answer came out best, and whether it is known to."""
    means = {name: float(np.mean(_all(material, name))) for name in CONDITIONS[1:]}
    ranked = sorted(means, key=lambda name: -means[name])
    found = _answered(material, ranked[0], ranked[1])
    first, second = (name.replace("_", " ") for name in ranked[:2])
    return (
        f"The best on average is *{first}* ({100 * means[ranked[0]]:.2f} %), "
        f"{found.points()} points before *{second}*: {found.told()}."
    )


def _all(material: Material, condition: str, metric: str = "top1") -> np.ndarray:
    """Return a metric of all networks and seeds (networks * seeds,)."""
    values = [material.findings.values(condition, name, metric) for name in CLAIMS]
    return np.concatenate(values)


def _answered(
    material: Material, condition: str, other: str, metric: str = "top1"
) -> Difference:
    gaps = _all(material, condition, metric) - _all(material, other, metric)
    seeds = len(material.findings.seeds)
    if seeds < 2:
        return Difference(float(np.mean(gaps)), None)
    return paired(gaps)


def _judge(found: Difference, wanted: int) -> str:
    if not found.known:
        return UNKNOWN
    return HOLDS if found.mean * wanted > 0 else FAILS
