"""What a study's weights are used for: how it is asked, and what is told of it."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import study_reduction
from tokenjax import tables
from tokenjax.benchmark.turns import Contestant
from tokenjax.errors import UserError
from tokenjax.study import plan
from tokenjax.study.uses import accuracy, latency, report
from tokenjax.study.uses.plan import Use, list_uses, use_config


def study(**changes):
    config = study_reduction.get_config()
    config.uses.update(changes)
    return config


def test_every_use_names_a_variant_and_lays_its_arguments_over_it(tmp_path):
    config = study()
    listed = list_uses(config)
    assert set(listed) == {
        ("fashion_mnist", "49 tokens"),
        ("fashion_mnist", "196 tokens"),
    }
    for uses in listed.values():
        assert uses[0].name == "8 blocks"
        assert len({use.name for use in uses}) == len(uses)
    by_name = {use.name: use for use in listed["fashion_mnist", "196 tokens"]}
    merged = use_config(config, by_name["ToMe light"], tmp_path)
    assert merged.model.reduction == "tome:r=12"
    assert (merged.model.depth, merged.data.image_size) == (8, 56)
    assert not merged.init_from  # it is evaluated, it starts from nothing
    plain = use_config(config, by_name["5 blocks"], tmp_path)
    assert plain.model.depth == 5
    assert "reduction" not in plain.model


def test_the_study_needs_what_its_uses_do():
    runs = {run.variant: run for run in plan.plan(study())}
    assert runs["blocks_8_on_196"].needs == "blocks_8_on_49"
    assert not runs["blocks_8_on_49"].needs


def test_counts_of_a_constant_rate_fall_by_it_half_pruned_half_merged():
    prune, merge = study_reduction.counts(6, 49)
    assert merge == "(44,38,32,26,20,14,8,2)"
    assert prune == "(47,41,35,29,23,17,11,5)"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_sizes": (1, 0)}, r"uses.batch_sizes must be whole numbers above 0"),
        ({"batch_sizes": ()}, r"uses.batch_sizes must be whole numbers above 0"),
        ({"reference": "8 block"}, r"uses.reference in 196 .*did you mean '8 blocks'"),
        (
            {"comparisons": {"49 tokens": {"8 blocks": {"run": "blocks_9_on_49"}}}},
            "uses.comparisons.49 tokens.8 blocks.run: .*blocks_8_on_49",
        ),
        (
            {"comparisons": {"49 tokens": {"8 blocks": {"runs": "x"}}}},
            "uses.comparisons.49 tokens.8 blocks: .*did you mean 'run'",
        ),
    ],
)
def test_bad_sections(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        list_uses(study(**changes))


def test_a_use_without_its_line():
    config = study()
    del config.uses.comparisons["49 tokens"]["8 blocks"]["line"]
    with pytest.raises(UserError, match=r"49 tokens\.8 blocks: line is missing"):
        list_uses(config)


def test_a_section_that_lacks_a_key():
    config = study()
    del config.uses["reference"]
    with pytest.raises(UserError, match=r"uses has the keys \['batch_sizes', 'comp"):
        list_uses(config)


def use(name, run="whole", line="tome", **more):
    return Use("digits", "49 tokens", name, run, line, **more)


USES = [
    use("whole", line="fewer", rival=True),
    use("half", "half", "fewer", rival=True),
    use("merged", model={"reduction": "tome:r=8"}),
    use("merged, tuned", "tuned", tuned=True, model={"reduction": "tome:r=8"}),
]


def contestants(*mflops):
    return [
        Contestant(str(flops), 1e6 * flops, print, [], {"parameters": 1000})
        for flops in mflops
    ]


def times():
    """Three rounds of three programs; the last one serves two uses."""
    seconds = np.array([[4.0, 2.0, 3.0], [8.0, 4.0, 6.0], [4.0, 2.4, 2.0]])
    shared = [[USES[0]], [USES[1]], [USES[2], USES[3]]]
    return latency.summarize(seconds, contestants(20, 10, 12), shared)


def test_times_are_ratios_within_a_round():
    found = times()
    assert found["whole"]["ratio"] == 1
    assert found["half"]["ratio"] == pytest.approx(0.5)
    assert found["half"]["ratio_high"] == pytest.approx(0.55)
    assert found["merged"]["ratio"] == 0.75
    assert found["merged"]["latency_ms"] == pytest.approx(3000)
    assert found["merged, tuned"] == found["merged"]
    assert found["half"]["mflops"] == 10


def rows(seeds=(0, 1)):
    config = ConfigDict({"seeds": seeds, "uses": {"batch_sizes": (1,)}})
    values = {"whole": (0.9, 0.8), "half": (0.8, 0.75), "merged": (0.85, 0.76)}
    values["merged, tuned"] = (0.89, 0.79)
    found = {
        accuracy.key_of(use, seed): {"top1": values[use.name][seed]}
        for use in USES
        for seed in seeds
    }
    return report.make_rows(config, USES, found, {1: times()})


def test_differences_are_of_the_same_seed():
    whole, half, merged, tuned = rows()
    assert np.abs(whole.differences).max() == 0
    np.testing.assert_allclose(merged.differences, [-0.05, -0.04])
    np.testing.assert_allclose(tuned.differences, [-0.01, -0.01])
    assert half.saved_share(1) == pytest.approx(1.0)
    assert merged.saved_share(1) == pytest.approx(0.25 / 0.4)
    assert whole.saved_share(1) is None


def test_the_table():
    table = tables.markdown(rows(), report.shown_columns((1,)))
    assert table.splitlines()[0] == (
        "| use | weights | test accuracy, % | minus the first's | MFLOPs per image "
        "| 1 / FLOPs | ms at batch 1 | × speed at 1 | saved time / FLOPs at 1 |"
    )
    assert table.splitlines()[4] == (
        "| merged | off the shelf | 80.50 ± 6.36 | -4.50 ± 0.71 | 12.0 | 1.67 "
        "| 3000.00 | 1.33 (1.33 to 1.60) | 0.62 |"
    )


def test_points_of_the_figure_and_one_seed():
    point = report.points(rows(), (1,))[-1]
    assert point["tuned"]
    assert not point["rival"]
    assert point["accuracy"] == pytest.approx(0.84)
    assert point["spread"] == pytest.approx(0.1 / 2**0.5)
    assert (point["time"], point["batch_size"]) == (0.75, 1)
    assert report.points(rows((0,)), (1,))[0]["spread"] is None


def test_what_is_known_is_of_the_same_use():
    merged = USES[2]
    known = {accuracy.key_of(merged, 0): merged.about() | {"images": 100, "top1": 0.5}}
    assert not accuracy._is_missing(known, merged, 0)
    assert accuracy._is_missing(known, merged, 1)
    other = use("merged", model={"reduction": "tome:r=9"})
    assert accuracy._is_missing(known, other, 0)
    other = use("merged", "tuned", model={"reduction": "tome:r=8"})
    assert accuracy._is_missing(known, other, 0)
