"""Arguments that only say where parameters start: the learned are read, replaced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small_models import MASKED, SMALL

from tokenjax import at_inference, models
from tokenjax.models.routing import ROUTERS

SCORES = jnp.asarray([[0.1, 0.35, 0.6, 0.85]])
LEARNED = {
    "learnable_threshold": {"threshold": 0.5},
    "sigmoid_gate": {"weight": 3.0, "bias": -1.5},  # zero at 0.5
}
OWN_THRESHOLD = {"router": "gumbel", "gumbel_threshold": "learned"}


@pytest.mark.parametrize("name", [*LEARNED, "gumbel"])
@pytest.mark.parametrize("value", [0.0, 0.3, 0.7, 0.95])
def test_a_threshold_in_the_place_of_the_learned_one(name, value):
    router = OWN_THRESHOLD if name == "gumbel" else {"router": name}
    model = models.create("attention_routing", threshold=0.2, **router)
    learned = model.learned_arguments()
    parameters = LEARNED.get(name, {"log_odds": 0.0})
    own = {key: jnp.asarray(number) for key, number in parameters.items()}
    variables = {"params": {"router": own, "rest": jnp.ones(2)}, "batch_stats": {}}
    assert float(learned["threshold"].value(variables)) == pytest.approx(0.5)
    changed = learned["threshold"].replace(variables, value)
    assert float(learned["threshold"].value(changed)) == pytest.approx(value, abs=1e-6)
    router = model.make_router(parent=None)
    params = {"params": changed["params"]["router"]}
    routed = router.apply(params, SCORES, False, 1.0)
    sent = np.float32(value <= SCORES)
    np.testing.assert_array_equal(routed.mask, sent)
    assert variables["params"]["router"] is own  # a copy was changed
    assert changed["params"]["rest"] is variables["params"]["rest"]
    for leaf, start in zip(
        jax.tree.leaves(changed), jax.tree.leaves(variables), strict=True
    ):
        assert (leaf.dtype, leaf.shape) == (start.dtype, start.shape)


@pytest.mark.parametrize("name", ROUTERS.names())
def test_every_router_says_what_it_learns(name):
    learned = at_inference.learned_arguments(
        models.create("attention_routing", router=name)
    )
    assert set(learned) == ({"threshold"} if name in LEARNED else set())
    assert set(learned) <= set(models.argument_names("attention_routing"))


@pytest.mark.parametrize("name", ["full_compute", "cheap_compute", "no_routing", "vit"])
def test_who_has_no_router_learns_no_argument(name):
    assert not at_inference.learned_arguments(models.create(name, **SMALL[name]))


@pytest.mark.parametrize(
    ("more", "acting"),
    [
        ({}, ["threshold", "execution"]),
        ({"router": "top_k"}, ["budget", "execution"]),
        pytest.param(
            {"router": "gumbel"},
            ["gumbel_inference", "execution"],
            marks=pytest.mark.long,
        ),
        pytest.param(
            OWN_THRESHOLD,
            ["threshold", "gumbel_inference", "execution"],
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"router": "gumbel", "gumbel_inference": "expectation"},
            ["gumbel_inference", "gumbel_noise"],
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"router": "top_k", "aggregator": "attention"},
            ["budget", "attention_scale", "execution"],
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_acts_at_inference(more, acting):
    """With other routers, other arguments; the temperature with none of them."""
    small = SMALL["attention_routing"] | MASKED | more
    model = models.create("attention_routing", **small)
    variables = jax.jit(model.init)(jax.random.key(0), *model.example_inputs(1))
    inference = at_inference.Inference(model, variables)
    assert at_inference.list_acting("attention_routing", inference) == acting


def test_nothing_acts_in_a_plain_vit():
    model = models.create("vit", **SMALL["vit"])
    variables = jax.jit(model.init)(jax.random.key(0), *model.example_inputs(1))
    assert not at_inference.list_acting("vit", at_inference.Inference(model, variables))
