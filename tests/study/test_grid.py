"""Ablations: what a grid turns into."""

import pathlib

import pytest
from ml_collections import ConfigDict

from configs import routing
from tokenjax.configuration import completed
from tokenjax.errors import UserError
from tokenjax.study import grid, plan

AXES = {"model": {"threshold": (0.3, 0.5), "name": ("full_compute",)}}
AXES |= {"routing": {"anneal_to_epochs": (0.0,)}}


def config(**ablation):
    config = routing.get_config()
    config.ablation.axes = ConfigDict(AXES)
    config.ablation.update(ablation)
    return config


def test_one_at_a_time_leaves_out_the_configurations_own_values():
    study = grid.make_study(config())
    assert set(study.variants) == {
        "base",
        "threshold=0.5",
        "name=full_compute",
        "anneal_to_epochs=0.0",
    }
    assert study.reference == "base"


def test_a_product_has_every_combination():
    study = grid.make_study(config(grid="product"))
    assert len(study.variants) == 2 * 2 * 2
    assert "name=full_compute threshold=0.5 anneal_to_epochs=0.0" in study.variants


def test_a_run_changes_what_its_name_says_and_nothing_else():
    base = config()
    study = grid.make_study(base)
    runs = {run.variant: run for run in plan.plan(study)}
    changed = plan.run_config(study, runs["name=full_compute"], pathlib.Path("x"))
    assert changed.model.name == "full_compute"
    assert changed.model.threshold == base.model.threshold
    assert changed.model.big_layers == base.model.big_layers
    assert changed.model.temperature == 1.0  # what the file does not name
    plain = plan.run_config(study, runs["base"], pathlib.Path("x"))
    assert plain.model.to_dict() == completed(base.to_dict())["model"]
    assert not plain.ablation  # a run's own config.json says what it trains
    unchanged = plan.run_config(study, runs["anneal_to_epochs=0.0"], pathlib.Path("x"))
    assert unchanged.routing.anneal_to_epochs == 0.0


def test_bad_grids():
    with pytest.raises(UserError, match="there is no section ablation"):
        grid.make_study(ConfigDict({"model": {}}))
    with pytest.raises(UserError, match=r"ablation.grid must be one of .*'random'"):
        grid.make_study(config(grid="random"))
    broken = config()
    broken.ablation.axes = ConfigDict({"model": {"treshold": (0.1,)}})
    with pytest.raises(UserError, match=r"ablation.axes: no key model.treshold"):
        grid.make_study(broken)
    broken.ablation.axes = ConfigDict({"model": {"threshold": 0.1}})
    with pytest.raises(UserError, match="must be a tuple of alternatives, got 0"):
        grid.make_study(broken)


def test_the_variants_of_the_routing_configuration():
    chosen = routing.get_config("cifar10-cheap_compute")
    assert (chosen.data.source, chosen.model.name) == ("cifar10", "cheap_compute")
    assert chosen.compare.full_compute == "cifar10-full_compute"
    assert routing.get_config().compare.attention_routing == "default"
    with pytest.raises(UserError, match="did you mean 'full_compute'"):
        routing.get_config("full_comput")


def test_the_questions_of_the_routing_configuration():
    study = grid.make_study(routing.get_config("questions"))
    runs = plan.plan(study)
    assert {run.seed for run in runs} == {0, 1, 2}
    configs = {
        run.variant: plan.run_config(study, run, pathlib.Path("x")).to_dict()
        for run in runs
        if run.seed == 1
    }
    assert len(runs) == 3 * len(configs)
    base = configs["base"]

    def changed(variant, section):
        found = configs[variant][section].items()
        return {key: value for key, value in found if value != base[section].get(key)}

    assert changed("full_compute", "model") == {"name": "full_compute"}
    assert changed("gumbel_as_specified", "model") == {"router": "gumbel"}
    mended = {"router": "gumbel", "gumbel_noise": 0.1, "gumbel_threshold": "learned"}
    assert changed("gumbel", "model") == mended
    assert all(not changed(name, "routing") for name in configs)
    assert base["model"]["gumbel_noise"] == 1.0


NAMED = {"sharp": {"model": {"temperature": 0.1}}, "short": {"routing": {}}}


def named(**variants):
    found = config()
    found.ablation.grid = "named"
    del found.ablation.axes
    found.ablation.variants = ConfigDict(variants, allow_dotted_keys=True)
    return found


def test_named_variants_stand_beside_the_configuration_itself():
    study = grid.make_study(named(**NAMED))
    assert set(study.variants) == {"base", "sharp", "short"}
    run = next(run for run in plan.plan(study) if run.variant == "sharp")
    changed = plan.run_config(study, run, pathlib.Path("runs"))
    assert changed.model.temperature == 0.1
    assert changed.model.threshold == config().model.threshold


@pytest.mark.parametrize(
    ("name", "overlay", "message"),
    [
        ("sharp", {"modle": {"temperature": 0.1}}, "no key modle"),
        ("sharp", {"model": {"temprature": 0.1}}, r"no key model\.temprature"),
        ("a/b", {}, "'a/b' cannot be a name"),
        ("base", {}, "'base' cannot be a name"),
    ],
)
def test_what_a_named_variant_cannot_be(name, overlay, message):
    with pytest.raises(UserError, match=message):
        grid.make_study(named(**{name: overlay}))
