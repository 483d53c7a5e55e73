"""What holds of the claimed parameters, FLOPs and times."""

import itertools

from tokenjax.reproduction.claims import CLAIMS, CLOSE, FEWER_PARAMETERS
from tokenjax.reproduction.material import Material, joined
from tokenjax.reproduction.verdicts import FAILS, HOLDS, IN_PART, UNKNOWN, Verdict


def all_costs(material: Material) -> list[Verdict]:
    """Judge the claims on what the networks cost."""
    judges = (parameters, fewer, flops, time)
    return [judge(material) for judge in judges]


def parameters(material: Material) -> Verdict:
    """Judge the parameters of the four networks."""
    counted = material.costs["original"]
    ratios = {
        claim.title: counted[name]["parameters"] / claim.parameters
        for name, claim in CLAIMS.items()
    }
    verdict, told = _close(ratios)
    sentence = f"Parameters: {told}, of what the original's own files build."
    claim = joined([f"{each.parameters / 1e6:.1f} M" for each in CLAIMS.values()])
    return Verdict(f"parameters: {claim}", verdict, sentence)


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
    each = joined(
        [f"{100 * share:.0f} % fewer than {title}" for title, share in shares.items()]
    )
    return Verdict(
        f"LightweightViT has {100 * FEWER_PARAMETERS:.0f} % fewer parameters",
        verdict,
        f"The parameters of LightweightViT are {each}.",
    )


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
    sentence = f"FLOPs, 2 per multiply-add: {told}. "
    if _number_close(halves) > _number_close(ratios):
        sentence += f"Read as multiply-adds: {told_as_one}."
        verdict = as_one if as_one == FAILS else IN_PART
    else:
        sentence += "Read as multiply-adds, no more of them would fit."
    claim = joined([f"{each.flops / 1e9:.1f} G" for each in CLAIMS.values()])
    return Verdict(f"FLOPs: {claim}", verdict, sentence)


def _number_close(ratios: dict[str, float]) -> int:
    return sum(abs(ratio - 1) <= CLOSE for ratio in ratios.values())


def _close(ratios: dict[str, float]) -> tuple[str, str]:
    """Say which of measured / claimed are near 1."""
    near = [title for title, ratio in ratios.items() if abs(ratio - 1) <= CLOSE]
    far = {title: ratio for title, ratio in ratios.items() if title not in near}
    share = f"{100 * CLOSE:.0f} %"
    shown = joined([f"{title} {ratio:.1f}" for title, ratio in far.items()])
    if not far:
        return HOLDS, f"all four claims are within {share} of what is counted"
    if not near:
        return FAILS, f"no claim is within {share}; counted over claimed: {shown}"
    return IN_PART, (
        f"within {share} for {joined(near)}; counted over claimed for the others: "
        f"{shown}"
    )


def time(material: Material) -> Verdict:
    """Judge the times by their ratios: the machine is another."""
    own = material.costs["original"]
    claimed = [claim.milliseconds for claim in CLAIMS.values()]
    measured = [own[name]["milliseconds"] for name in CLAIMS]
    rank = sorted(CLAIMS, key=lambda name: -own[name]["milliseconds"])
    gain = [times[0] / times[-1] for times in (claimed, measured)]
    near = abs(gain[1] / gain[0] - 1) <= CLOSE
    order, told = _order(material)
    verdict = order if (order == HOLDS) == near else IN_PART
    listed = joined([CLAIMS[name].title for name in rank])
    sentence = (
        f"Time: from slowest to fastest, one image at a time, {listed}; {told}. "
        f"LightweightViT is {gain[1]:.1f} times as fast as vit_base; claimed are "
        f"{gain[0]:.1f}."
    )
    claim = joined([f"{each.milliseconds:g} ms" for each in CLAIMS.values()])
    return Verdict(f"time per image: {claim}", verdict, sentence)


def _order(material: Material) -> tuple[str, str]:
    """Judge the order of the times, by rounds that do not overlap."""
    own = material.costs["original"]
    pairs = list(itertools.combinations(CLAIMS, 2))  # the first is claimed slower
    contradicted = [
        (slow, fast)
        for slow, fast in pairs
        if own[slow]["slowest_ms"] < own[fast]["milliseconds"]
    ]
    clear = [
        (slow, fast)
        for slow, fast in pairs
        if own[slow]["milliseconds"] > own[fast]["slowest_ms"]
    ]
    if contradicted:
        wrong = joined(
            [
                f"{CLAIMS[a].title} slower than {CLAIMS[b].title}"
                for a, b in contradicted
            ]
        )
        return FAILS, f"claimed are {wrong}, and every round says otherwise"
    if len(clear) == len(pairs):
        return HOLDS, "as claimed, in every round"
    return UNKNOWN, (
        f"rounds contradict none of the claimed order and overlap for "
        f"{len(pairs) - len(clear)} of {len(pairs)} pairs"
    )
