"""What holds of the claimed accuracies, and what pruning costs and saves."""

import itertools
from collections.abc import Iterator

import numpy as np

from tokenjax.reproduction.claims import CLAIMS
from tokenjax.reproduction.costs import PRUNED as PRUNED_ORIGINAL
from tokenjax.reproduction.differences import Difference, apart, paired
from tokenjax.reproduction.jobs import BALANCED, PRUNED
from tokenjax.reproduction.material import Material, joined
from tokenjax.reproduction.verdicts import FAILS, HOLDS, UNKNOWN, Verdict

AROUND = 0.01  # "~85 %" is held to a point
LATE = 0.85  # of a run; what follows its last evaluation before that is its end
RISING = 0.5  # points at the end of a run, above which it was still learning


def orders(material: Material) -> Iterator[Verdict]:
    """Judge the accuracies: their height on the original's data, and their order."""
    if material.on_cifar:
        yield from _heights(material)
    ranked = sorted(CLAIMS, key=lambda name: -CLAIMS[name].accuracy)
    pairs = [*itertools.pairwise(ranked), (ranked[0], ranked[-1])]
    for better, worse in pairs:
        found = _between(material, better, worse)
        first, second = CLAIMS[better], CLAIMS[worse]
        verdict = UNKNOWN
        if found.known:
            verdict = HOLDS if found.mean > 0 else FAILS
        claimed = 100 * (first.accuracy - second.accuracy)
        yield Verdict(
            f"{first.title} above {second.title} (by {_points(claimed)})",
            verdict,
            f"{first.title} against {second.title}: {found.points()} points "
            f"(claimed +{claimed:.0f}), {found.told()}{_way(found)}.",
        )


def _points(count: float) -> str:
    return f"{count:.0f} point{'' if round(count) == 1 else 's'}"


def _way(found: Difference) -> str:
    """Say of a difference that is known whether it is the way that is claimed."""
    if not found.known:
        return ""
    return ", the order as claimed" if found.mean > 0 else ", the other way round"


def _heights(material: Material) -> Iterator[Verdict]:
    for name, claim in CLAIMS.items():
        top1 = float(np.mean(material.findings.values(BALANCED, name, "top1")))
        off = top1 - claim.accuracy
        verdict = HOLDS if abs(off) <= AROUND else FAILS
        way = (
            "within a point of" if verdict == HOLDS else "above" if off > 0 else "below"
        )
        yield Verdict(
            f"{claim.title}: ~{100 * claim.accuracy:.0f} %",
            verdict,
            f"{claim.title}: {100 * top1:.2f} %, {way} the claimed "
            f"{100 * claim.accuracy:.0f} % ({100 * off:+.2f} points).",
        )


def _between(material: Material, one: str, other: str) -> Difference:
    values = material.findings.values
    return apart(values(BALANCED, one, "top1"), values(BALANCED, other, "top1"))


def still_rising(material: Material) -> str:
    """Say whether the curves were still rising when the budget was spent."""
    batch = material.study.datasets[BALANCED].batch_size
    gains = {}
    for name, claim in CLAIMS.items():
        curves = material.findings.curves(BALANCED, name, batch)
        last = [gain for curve in curves if (gain := _late_gain(*curve)) is not None]
        if last:
            gains[claim.title] = 100 * float(np.mean(last))
    if not gains:
        return "Each run was validated once: there is no curve to read."
    each = joined([f"{title} {gain:+.1f}" for title, gain in gains.items()])
    rising = [title for title, gain in gains.items() if gain > RISING]
    if not rising:
        end = "none gained more than half a point: the budget was not what limits them"
    elif len(rising) == len(gains):
        end = "all were still learning: what they reach with more images is not known"
    else:
        end = f"{joined(rising)} would gain from a larger budget"
    return (
        f"Points of validation accuracy gained since four fifths of the run: {each}; "
        f"{end}."
    )


def _late_gain(images: list[float], top1: list[float]) -> float | None:
    """Return what the last part of a run gained, None where nothing was before it."""
    before = [
        value
        for seen, value in zip(images, top1, strict=True)
        if seen <= LATE * images[-1]
    ]
    return top1[-1] - before[-1] if before else None


def pruning(material: Material) -> list[Verdict]:
    """Judge what pruning costs and saves: at random, and as it learned."""
    return [
        _own_pruning(material),
        _against_unpruned(
            material, "dynamic_vit_random", "Pruned by predictors that never learned"
        ),
        _against_unpruned(
            material, "dynamic_vit_random_alike", "Likewise, as many dropped as by ours"
        ),
        _against_unpruned(material, "dynamic_vit_pruned", PRUNED),
        _against_chance(material),
    ]


def _own_pruning(material: Material) -> Verdict:
    """Say what the original's own pruning would save, at its sizes."""
    unpruned, pruned = (
        material.costs["original"][name] for name in ("dynamic_vit", PRUNED_ORIGINAL)
    )
    saved = 1 - pruned["flops"] / unpruned["flops"]
    gain = unpruned["milliseconds"] / pruned["milliseconds"]
    return Verdict(
        "DynamicViT saves by pruning",
        FAILS,
        "At the original's sizes its own pruning, which it never asks for, would save "
        f"{100 * saved:.0f} % of the FLOPs and make one image {gain:.2f} times as "
        "fast; as it is evaluated there, it saves nothing.",
    )


def _from_the_same(material: Material, one: str, other: str) -> Difference:
    """Compare networks that come, seed by seed, from the same unpruned one."""
    values = material.findings.values
    return paired(values(BALANCED, one, "top1") - values(BALANCED, other, "top1"))


def _against_unpruned(material: Material, name: str, title: str) -> Verdict:
    """Judge whether a network that prunes is as good as the one that does not."""
    lost = _from_the_same(material, name, "dynamic_vit")
    trained = material.costs["trained"]
    one, many = (
        trained[size]["dynamic_vit"]["latency_ms"] / trained[size][name]["latency_ms"]
        for size in ("1", "64")
    )
    work = 1 - trained["1"][name]["mflops"] / trained["1"]["dynamic_vit"]["mflops"]
    verdict = UNKNOWN
    if lost.known:
        verdict = HOLDS if lost.mean > 0 else FAILS
    return Verdict(
        f"{title}: as good as unpruned",
        verdict,
        f"{title}: {lost.points()} points against unpruned, {lost.told()}, for "
        f"{100 * work:.0f} % fewer FLOPs; {one:.2f} times as fast with one image, "
        f"{many:.2f} times with 64.",
    )


def _against_chance(material: Material) -> Verdict:
    """Judge whether predictors that learned choose better than chance."""
    gained = _from_the_same(material, "dynamic_vit_pruned", "dynamic_vit_random_alike")
    verdict = UNKNOWN
    if gained.known:
        verdict = HOLDS if gained.mean > 0 else FAILS
    return Verdict(
        "what to drop can be learned",
        verdict,
        f"{PRUNED}, against as many patches dropped by predictors that never learned "
        f"(nor had the network learned to do without): {gained.points()} points, "
        f"{gained.told()}.",
    )
