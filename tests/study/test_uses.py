"""What a study's weights are used for: how it is asked, and what is told of it."""

import dataclasses
import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import study_reduction
from tokenjax import storage, tables
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


def use(name, run="whole", line="tome", seeds=(0, 1), against="whole", **more):
    return Use("digits", "49 tokens", name, run, seeds, line, against, **more)


USES = [
    use("whole", line="fewer", rival=True),
    use("half", "half", "fewer", rival=True),
    use("merged", model={"reduction": "tome:r=8"}),
    use("merged, tuned", "tuned", tuned=True),
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
    config = ConfigDict({"uses": {"batch_sizes": (1,)}})
    uses = [dataclasses.replace(use, seeds=seeds) for use in USES]
    values = {"whole": (0.9, 0.8), "half": (0.8, 0.75), "merged": (0.85, 0.76)}
    values["merged, tuned"] = (0.89, 0.79)
    found = {
        accuracy.key_of(use, seed): {"top1": values[use.name][seed]}
        for use in USES
        for seed in seeds
    }
    return report.make_rows(config, uses, found, {1: times()})


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
        "| use | weights | seeds | test accuracy, % | difference "
        "| MFLOPs per image | 1 / FLOPs | ms at batch 1 | × speed at 1 "
        "| saved time / FLOPs at 1 |"
    )
    assert table.splitlines()[4] == (
        "| merged | off the shelf | 2 | 80.50 ± 6.36 | -4.50 ± 0.71 | 12.0 | 1.67 "
        "| 3000.00 | 1.33 (1.33 to 1.60) | 0.62 |"
    )


def test_points_of_the_figure_and_one_seed():
    point = report.points(rows(), (1,))[-1]
    assert point["tuned"]
    assert not point["rival"]
    assert point["accuracy"] == pytest.approx(0.84)
    assert point["spread"] == pytest.approx(0.1 / 2**0.5)
    assert (point["time"], point["batch_size"]) == (0.75, 1)
    assert point["difference"] == pytest.approx(-0.01)
    assert point["difference_spread"] == pytest.approx(0)
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


def test_fewer_seeds_are_held_against_the_same_ones_of_the_reference():
    config = ConfigDict({"uses": {"batch_sizes": (1,)}})
    uses = [USES[0], dataclasses.replace(USES[1], seeds=(1,))]
    tops = {("whole", 0): 0.9, ("whole", 1): 0.8, ("half", 1): 0.75}
    found = {f"digits/49 tokens/{n}/{s}": {"top1": top} for (n, s), top in tops.items()}
    half = report.make_rows(config, uses, found, {1: times()})[1]
    np.testing.assert_allclose(half.accuracies, [0.75])
    np.testing.assert_allclose(half.differences, [-0.05])


def test_what_is_fine_tuned_may_be_held_against_another():
    config = ConfigDict({"uses": {"batch_sizes": (1,)}})
    uses = [*USES[:3], dataclasses.replace(USES[3], against="half")]
    tops = {"whole": 0.9, "half": 0.6, "merged": 0.8, "merged, tuned": 0.7}
    found = {
        f"digits/49 tokens/{n}/{s}": {"top1": tops[n]} for n in tops for s in (0, 1)
    }
    rows = report.make_rows(config, uses, found, {1: times()})
    np.testing.assert_allclose(rows[3].differences, [0.1, 0.1])
    assert report._held_against(rows) == "whole (fine-tuned: half)"
    assert report._held_against(rows[:3]) == "whole"


def test_bad_uses_to_be_held_against():
    config, name = study(), "ToMe strong, tuned"
    tuned = {use.name: use for use in list_uses(config)["fashion_mnist", "196 tokens"]}
    assert tuned[name].against == "8 blocks, tuned"
    with config.unlocked():
        config.variants.blocks_8_on_196_tuned.seeds = (1,)
    with pytest.raises(UserError, match=r"8 blocks, tuned has no weights of seeds \[0"):
        list_uses(config)
    config = study()
    config.uses.comparisons["196 tokens"][name].against = "8 block"
    with pytest.raises(UserError, match=r"strong, tuned.against: .*mean '8 blocks'"):
        list_uses(config)


def test_a_variant_may_be_run_with_some_of_the_seeds():
    config, name = study(), "ToMe_strong_tuned"
    with config.unlocked():
        config.variants[name].seeds = (0,)
    assert [run.seed for run in plan.plan(config) if run.variant == name] == [0]
    middle = {
        run.seed for run in plan.plan(config) if run.variant == "ToMe_middle_tuned"
    }
    assert middle == {0, 1, 2}
    uses = {use.name: use for use in list_uses(config)["fashion_mnist", "196 tokens"]}
    assert uses["ToMe strong, tuned"].seeds == (0,)
    assert uses["ToMe strong"].seeds == (0, 1, 2)
    run = plan.StudyRun("fashion_mnist", name, 0)
    assert "seeds" not in plan.run_config(config, run, pathlib.Path())
    config.seeds = (0, 1)
    assert plan.seeds_of(config, "ToMe_middle_tuned") == (0, 1)
    config.variants[name].seeds = (3, 4)
    with pytest.raises(UserError, match=r"ToMe_strong_tuned: none of \(3, 4\) is one"):
        plan.plan(config)


def test_what_is_left_out_in_training_alone_makes_no_program_of_its_own(tmp_path):
    uses = {use.name: use for use in list_uses(study())["fashion_mnist", "196 tokens"]}
    shelf, tuned = (
        use_config(study(), uses[name], tmp_path).model.to_dict()
        for name in ("EViT middle", "EViT middle, tuned")
    )
    assert shelf == tuned
    assert shelf["patch_drop_rate"] == 0


def test_weights_as_trained_are_not_evaluated_again(tmp_path):
    config, tuned = study(), dataclasses.replace(USES[3], seeds=(1,))
    with pytest.raises(UserError, match=r"uses: merged, tuned: .* is not finished"):
        accuracy.measure(config, [tuned], tmp_path)
    evaluation = tmp_path / "digits" / "tuned" / "1" / "evaluation.json"
    evaluation.parent.mkdir(parents=True)
    storage.write_json(evaluation, {"mAP": 0.5})
    with pytest.raises(UserError, match="holds no classifier's evaluation"):
        accuracy.measure(config, [tuned], tmp_path)
    storage.write_json(evaluation, {"top1": 0.75, "examples": 40})
    found = accuracy.measure(config, [tuned], tmp_path)
    assert found["digits/49 tokens/merged, tuned/1"]["top1"] == 0.75
    assert found["digits/49 tokens/merged, tuned/1"]["images"] == 40
