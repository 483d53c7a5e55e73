"""What the report says follows from the numbers, whichever way they fall."""

import pytest

from tokenjax.reproduction import (
    accuracy_verdicts,
    answer_verdicts,
    claims,
    conclusion,
    cost_verdicts,
    results,
    verdicts,
)

FLAT = {
    "vit_base": 0.85,
    "dynamic_vit": 0.85,
    "vit_small": 0.85,
    "linear_vit": 0.85,
    "dynamic_vit_pruned": 0.85,
    "dynamic_vit_random": 0.85,
    "dynamic_vit_random_alike": 0.85,
}


def accuracies(spread=0.004, answers=None, **models):
    """A run's accuracy: its model's, its condition's on top, a step a seed."""
    by_model = {**FLAT, **models}
    on_top = {"balanced": 0.0, **(answers or {})}

    def accuracy(run):
        jitter = spread * ((run.seed * 7 + len(run.variant)) % 3 - 1)
        return by_model[run.variant] + on_top.get(run.dataset, -0.1) + jitter

    return accuracy


def orders(material):
    return {each.claim: each for each in accuracy_verdicts.orders(material)}


def test_an_order_that_is_as_claimed(make_material):
    models = {"vit_base": 0.9, "dynamic_vit": 0.8, "vit_small": 0.7, "linear_vit": 0.6}
    found = orders(make_material(accuracies(**models)))
    assert {each.verdict for each in found.values()} == {verdicts.HOLDS}
    first = found["vit_base above DynamicViT (by 1 point)"]
    assert "+10.00 points (claimed +1), beyond the seeds' spread" in first.sentence
    assert first.sentence.endswith(", the order as claimed.")


def test_an_order_that_is_the_other_way_round(make_material):
    models = {"vit_base": 0.6, "dynamic_vit": 0.7, "vit_small": 0.8, "linear_vit": 0.9}
    found = orders(make_material(accuracies(**models)))
    assert {each.verdict for each in found.values()} == {verdicts.FAILS}
    last = found["vit_base above LightweightViT (by 3 points)"]
    assert last.sentence.endswith(", the other way round.")


def test_an_order_that_seeds_hide(make_material):
    found = orders(make_material(accuracies(spread=0.03, vit_base=0.86)))
    assert {each.verdict for each in found.values()} == {verdicts.UNKNOWN}
    assert all("within the seeds' spread" in each.sentence for each in found.values())


def test_of_one_seed_no_order_is_known(make_material):
    found = orders(make_material(accuracies(vit_base=0.99), seeds=(0,)))
    assert {each.verdict for each in found.values()} == {verdicts.UNKNOWN}


def test_heights_are_judged_on_the_claimed_data_alone(make_material):
    material = make_material(accuracies(vit_small=0.5), data="cifar10")
    found = orders(material)
    assert found["vit_base: ~85 %"].verdict == verdicts.HOLDS
    small = found["vit_small: ~83 %"]
    assert small.verdict == verdicts.FAILS
    assert "below the claimed 83 % (-33" in small.sentence
    assert "data of the claim" in results.one_table(material)


@pytest.mark.parametrize(
    ("gain", "verdict", "told"),
    [
        (0.05, verdicts.HOLDS, "+5.00 points"),
        (-0.05, verdicts.FAILS, "-5.00 points"),
        (0.0, verdicts.UNKNOWN, "+0.00 points"),
    ],
)
def test_an_answer_to_imbalance(make_material, gain, verdict, told):
    answers = {"logit_adjustment": gain - 0.1}
    material = make_material(accuracies(answers=answers))
    found = answer_verdicts.answer(material, "logit_adjustment")
    assert found.verdict == verdict
    assert told in found.sentence
    assert answer_verdicts.cost_of_imbalance(material).verdict == verdicts.HOLDS
    best = answer_verdicts.best_answer(material)
    assert ("*logit adjustment*" in best.partition("before")[0]) == (gain > 0)


def test_whether_the_budget_was_enough(make_material, monkeypatch):
    material = make_material(accuracies())
    curve = ([10, 20, 30, 40, 50], [0.5, 0.6, 0.7, 0.8, 0.801])
    monkeypatch.setattr(type(material.findings), "curves", lambda *a: [curve])
    assert "none gained more than half a point" in told(material)
    curve[1][-1] = 0.83
    assert "vit_base +3.0" in told(material)
    assert "all were still learning" in told(material)
    monkeypatch.setattr(type(material.findings), "curves", lambda *a: [([9], [0.5])])
    assert "there is no curve to read" in told(material)


def told(material):
    return accuracy_verdicts.still_rising(material)


def test_pruning(make_material):
    material = make_material(accuracies(dynamic_vit_random=0.3))
    own, random, alike, learned, chance = accuracy_verdicts.pruning(material)
    assert random.verdict == verdicts.FAILS
    assert alike.verdict == learned.verdict == chance.verdict == verdicts.UNKNOWN
    assert "-55.00 points" in random.sentence
    assert "would save 0 % of the FLOPs" in own.sentence


def test_costs(make_material):
    material = make_material(accuracies())
    original = material.costs["original"]
    claimed = {"vit_base": 8.5e6, "vit_small": 6.3e6, "dynamic_vit": 5.2e6}
    for name, count in claimed.items():
        original[name]["parameters"] = count
    original["linear_vit"]["parameters"] = 9.6e6  # twice
    for name, flops in (("vit_base", 2.4e9), ("vit_small", 1.6e9)):
        original[name]["flops"] = flops
    parameters, fewer, flops, time = cost_verdicts.all_costs(material)
    assert parameters.verdict == verdicts.IN_PART
    assert "for vit_base, vit_small and DynamicViT" in parameters.sentence
    assert "LightweightViT 2.0" in parameters.sentence
    assert fewer.verdict == verdicts.FAILS
    assert flops.verdict == verdicts.IN_PART
    assert "multiply-adds: within 10 % for vit_base and vit_small" in flops.sentence
    assert time.verdict == verdicts.UNKNOWN  # all alike
    original["linear_vit"]["parameters"] = 4.8e6
    assert cost_verdicts.parameters(material).verdict == verdicts.HOLDS


def test_times(make_material):
    """By their order in every round and the ratio of the first to the last."""
    material = make_material(accuracies())

    def judge(*milliseconds, slower=1.01):
        for name, value in zip(claims.CLAIMS, milliseconds, strict=True):
            times = {"milliseconds": value, "slowest_ms": slower * value}
            material.costs["original"][name] |= times
        return cost_verdicts.time(material)

    assert judge(150, 120, 100, 80).verdict == verdicts.HOLDS
    assert judge(150, 120, 100, 20).verdict == verdicts.IN_PART  # too great a ratio
    overlapping = judge(150, 120, 100, 80, slower=1.3)
    assert overlapping.verdict == verdicts.IN_PART  # the ratio holds
    assert "overlap for 3 of 6 pairs" in overlapping.sentence
    wrong = judge(150, 160, 100, 20)
    assert wrong.verdict == verdicts.FAILS
    assert "claimed are vit_base slower than vit_small, and every" in wrong.sentence
    assert "LightweightViT is 7.5 times as fast" in wrong.sentence


def test_a_busy_machine_is_said(make_material):
    material = make_material(accuracies())
    assert "Other programs ran" not in results.one_table(material)
    material.costs["load"] = 7.2
    assert "(7.2 at a time on 2 cores)" in " ".join(results.one_table(material).split())


def test_the_conclusion_counts_its_claims(make_material):
    text = conclusion.conclude(make_material(accuracies()))
    assert text.count("| **") == 8 + 9
    assert "Of 8 claims of the README," in text
    assert "`--data cifar10` trains the original's own" in text
