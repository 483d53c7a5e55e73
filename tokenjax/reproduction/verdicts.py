"""What of each claim holds, decided by the numbers.

A verdict is "holds", "holds in part", "does not hold" or "not told apart", with the
sentence that says why.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tokenjax.reproduction.claims import CLAIMS, CLOSE, FEWER_PARAMETERS
from tokenjax.reproduction.costs import PRUNED as PRUNED_ORIGINAL
from tokenjax.reproduction.differences import Difference, apart, paired
from tokenjax.reproduction.jobs import BALANCED, CONDITIONS, IMBALANCED, PRUNED
from tokenjax.reproduction.material import Material, joined

HOLDS, IN_PART, FAILS = "holds", "holds in part", "does not hold"
UNKNOWN = "not told apart"
AROUND = 0.01  # "~85 %" is held to a point


class Verdict(NamedTuple):
    """A claim, whether it holds, and the sentence that says why."""

    claim: str
    verdict: str
    sentence: str


def parameters(material: Material) -> Verdict:
    """Judge the parameters of the four networks."""
    counted = material.costs["original"]
    ratios = {
        claim.title: counted[name]["parameters"] / claim.parameters
        for name, claim in CLAIMS.items()
    }
    verdict, told = _close(ratios)
    sentence = f"The claimed parameters {told} of what the original's own files build."
    claim = joined([f"{each.parameters / 1e6:.1f} M" for each in CLAIMS.values()])
    return Verdict(f"parameters {claim}", verdict, sentence)


def flops(material: Material) -> Verdict:
    """Judge the FLOPs, counted as 2 and as 1 per multiply-add."""
    counted = material.costs["original"]
    ratios = {
        claim.title: counted[name]["flops"] / claim.flops
        for name, claim in CLAIMS.items()
    }
    verdict, told = _close(ratios)
    halves = {title: ratio / 2 for title, ratio in ratios.items()}
    as_one, told_as_one = _close(halves)
    sentence = f"The claimed FLOPs {told} of those counted"
    if _number_close(halves) > _number_close(ratios):
        sentence += f"; read as multiply-adds they {told_as_one}."
        verdict = as_one if as_one == FAILS else IN_PART
    else:
        sentence += ", and are no closer to multiply-adds."
    claim = joined([f"{each.flops / 1e9:.1f} G" for each in CLAIMS.values()])
    return Verdict(f"FLOPs {claim}", verdict, sentence)


def _number_close(ratios: dict[str, float]) -> int:
    return sum(abs(ratio - 1) <= CLOSE for ratio in ratios.values())


def _close(ratios: dict[str, float]) -> tuple[str, str]:
    """Say which of measured / claimed are near 1."""
    near = [title for title, ratio in ratios.items() if abs(ratio - 1) <= CLOSE]
    far = {title: ratio for title, ratio in ratios.items() if title not in near}
    shown = joined([f"{ratio:.1f} times for {title}" for title, ratio in far.items()])
    if not far:
        return HOLDS, f"are within {CLOSE:.0%}"
    if not near:
        return FAILS, f"are not within {CLOSE:.0%} for any (counted is {shown})"
    return IN_PART, f"are within {CLOSE:.0%} for {joined(near)} (counted is {shown})"


def time(material: Material) -> Verdict:
    """Judge the times by their ratios: the machine is another."""
    own = material.costs["original"]
    names = list(CLAIMS)
    measured = [own[name]["milliseconds"] for name in names]
    claimed = [claim.milliseconds for claim in CLAIMS.values()]
    rank = sorted(names, key=lambda name: -own[name]["milliseconds"])
    order = joined([CLAIMS[name].title for name in rank])
    gain = [times[0] / times[-1] for times in (claimed, measured)]
    same_order = rank == names
    near = abs(gain[1] / gain[0] - 1) <= CLOSE
    verdict = HOLDS if same_order and near else FAILS
    if same_order != near:
        verdict = IN_PART
    sentence = (
        f"From slowest to fastest, one image at a time, they are {order}"
        f"{' as claimed' if same_order else ', not as claimed'}; LightweightViT is "
        f"{gain[1]:.1f} times as fast as vit_base, where {gain[0]:.1f} are claimed."
    )
    claim = joined([f"{each.milliseconds:g} ms" for each in CLAIMS.values()])
    return Verdict(f"time per image {claim}", verdict, sentence)


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
            f"{first.title} {claimed:.0f} points above {second.title}",
            verdict,
            f"{first.title} against {second.title}: {found.points()} points "
            f"(claimed +{claimed:.0f}), {found.told()}.",
        )


def _heights(material: Material) -> Iterator[Verdict]:
    for name, claim in CLAIMS.items():
        top1 = float(np.mean(material.findings.values(BALANCED, name, "top1")))
        off = top1 - claim.accuracy
        verdict = HOLDS if abs(off) <= AROUND else FAILS
        way = (
            "within a point of" if verdict == HOLDS else "above" if off > 0 else "below"
        )
        yield Verdict(
            f"{claim.title} ~{claim.accuracy:.0%}",
            verdict,
            f"{claim.title}: {100 * top1:.2f} %, {way} the claimed "
            f"{claim.accuracy:.0%} ({100 * off:+.2f} points).",
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
        last = [top1[-1] - top1[-2] for _, top1 in curves if len(top1) > 1]
        if last:
            gains[claim.title] = 100 * float(np.mean(last))
    if not gains:
        return "Each run was validated once: there is no curve to read."
    each = joined([f"{title} {gain:+.1f}" for title, gain in gains.items()])
    rising = [title for title, gain in gains.items() if gain > 0.5]
    if not rising:
        end = "none gained more than half a point: the budget was not what limits them"
    elif len(rising) == len(gains):
        end = "all were still learning: what they reach with more images is not known"
    else:
        end = f"{joined(rising)} would gain from a larger budget"
    return f"Points gained over the last fifth of the run: {each}; {end}."


def fewer(material: Material) -> Verdict:
    """Judge LightweightViT's "40 % fewer parameters"."""
    own = material.costs["original"]
    light = own["linear_vit"]["parameters"]
    shares = {
        CLAIMS[name].title: 1 - light / own[name]["parameters"]
        for name in CLAIMS
        if name != "linear_vit"
    }
    met = [title for title, share in shares.items() if share >= FEWER_PARAMETERS]
    verdict = HOLDS if len(met) == len(shares) else IN_PART if met else FAILS
    each = joined([f"{share:.0%} than {title}" for title, share in shares.items()])
    return Verdict(
        f"LightweightViT: {FEWER_PARAMETERS:.0%} fewer parameters",
        verdict,
        f"It has fewer by {each}.",
    )


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


def pruning(material: Material) -> list[Verdict]:
    """Judge what pruning costs and saves: at random, and as it learned."""
    found = []
    original = material.costs["original"]
    saved = 1 - original[PRUNED_ORIGINAL]["flops"] / original["dynamic_vit"]["flops"]
    gain = (
        original["dynamic_vit"]["milliseconds"]
        / original[PRUNED_ORIGINAL]["milliseconds"]
    )
    found.append(
        Verdict(
            "DynamicViT saves by pruning",
            FAILS,
            "At the original's sizes its own pruning, which it never asks for, would "
            f"save {saved:.0%} of the FLOPs and make one image {gain:.2f} times as "
            "fast; as it is evaluated there, it saves nothing.",
        )
    )
    trained = material.costs["trained"]
    for name, title in (
        ("dynamic_vit_random", "Pruned by predictors that never learned"),
        ("dynamic_vit_pruned", PRUNED),
    ):
        lost = _between(material, name, "dynamic_vit")
        one, many = (
            trained[size]["dynamic_vit"]["latency_ms"]
            / trained[size][name]["latency_ms"]
            for size in ("1", "64")
        )
        work = 1 - trained["1"][name]["mflops"] / trained["1"]["dynamic_vit"]["mflops"]
        found.append(
            Verdict(
                f"{title}: as good as unpruned",
                FAILS
                if lost.known and lost.mean < 0
                else HOLDS
                if lost.known
                else UNKNOWN,
                f"{title}: {lost.points()} points against unpruned, {lost.told()}, for "
                f"{work:.0%} fewer FLOPs; {one:.2f} times as fast with one image, "
                f"{many:.2f} times with 64.",
            )
        )
    return found
