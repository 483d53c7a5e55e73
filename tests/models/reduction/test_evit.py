"""Top-K and EViT: recorded ViTs and blocks, masked execution, rates of a step."""

import functools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import reduced_models

from tokenjax import models
from tokenjax.errors import UserError
from tokenjax.models.attention import Seen
from tokenjax.models.reduction import EncoderFacts, Place, TokenSet, scheduled
from tokenjax.models.reduction.evit import EViT, TopK

CASES = {
    "evit_vit": ("evit", ("keep_rate", "fuse_token")),
    "evit_vit_unfused": ("evit", ("keep_rate", "fuse_token")),
    "evit_counts_vit": ("evit", ("keep_rate", "reduction_loc")),
    "topk_vit": ("topk", ("keep_rate", "reduction_loc")),
}
FACTS = EncoderFacts(12, 196, 1, True, False, 8, 2)


@pytest.fixture(scope="module")
def computed(golden):
    """name -> (recorded, computed)."""

    @functools.cache
    def compute(name):
        case = golden(f"reduction/{name}")
        recorded = reduced_models.build_recorded(case, *CASES[name])
        return recorded, reduced_models.compute(recorded)

    return compute


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_choices(computed, assert_close, name):
    recorded, found = computed(name)
    reduced_models.check_outputs(recorded, found, assert_close)
    for block, entry in enumerate(found.aux["reduction"]):
        then = recorded.case.group(f"output/layer{block}")
        if "fused" not in then:
            continue
        step = np.asarray(entry["map"])
        for row, expected in enumerate(then["fused"]):
            fused = np.flatnonzero(step[row] == then["count"] - 1) - 1
            np.testing.assert_array_equal(fused, expected)


@pytest.mark.parametrize("name", CASES)
def test_gradients(computed, assert_close, name):
    reduced_models.check_gradients(*computed(name), assert_close)


@pytest.mark.parametrize("name", ["evit_vit", "topk_vit"])
def test_masked_equals_gathered(computed, assert_close, name):
    recorded, found = computed(name)
    written = recorded.model.reduction
    masked = recorded._replace(
        model=recorded.model.clone(reduction=f"{written},execution=masked")
    )
    other = reduced_models.compute(masked)
    assert_close(other.logits, found.logits, 1e-6)
    assert_close(other.image_gradient, found.image_gradient, 1e-5)
    for gathered, marked in zip(
        found.aux["reduction"], other.aux["reduction"], strict=True
    ):
        assert (gathered is None) == (marked is None)
    whole = [None, None]
    for entries in zip(found.aux["reduction"], other.aux["reduction"], strict=True):
        if entries[0] is not None:
            steps = [entry["map"] for entry in entries]
            whole = list(map(reduced_models.compose, whole, steps))
    # the same tokens are gone, and the same ones together
    for gathered, marked in zip(*whole, strict=True):
        assert ((gathered < 0) == (marked < 0)).all()
        pairs = set(zip(gathered.tolist(), marked.tolist(), strict=True))
        assert len(pairs) == len(set(gathered.tolist())) == len(set(marked.tolist()))


def test_a_rate_of_a_step(computed, assert_close):
    """A rate handed in from outside acts in training, masked, and in no other way."""
    recorded, _ = computed("evit_vit")
    model = recorded.model.clone(reduction="evit:keep_rate=(1,0.9,1,0.8)")
    other = recorded.model.clone(
        reduction="evit:keep_rate=(1,0.6,1,0.6),execution=masked"
    )
    inputs = (recorded.images,)
    tree = scheduled.find(model, recorded.variables, inputs)
    assert len(jax.tree.leaves(tree)) == 2
    # What a trainer is told to give is what is taken, and the shares of the arguments.
    flat = flax.traverse_util.flatten_dict(tree, sep="/")
    assert set(model.kept_shares()) == set(flat)
    assert sorted(model.kept_shares().values()) == [0.8, 0.9]
    assert scheduled.find(other.clone(reduction=None), recorded.variables, inputs) == {}

    @functools.partial(jax.jit, static_argnums=(1,))
    def compute(rate, train):
        given = jax.tree.map(lambda _: rate, tree)
        return model.apply({**recorded.variables, "schedule": given}, *inputs, train)[0]

    expected, _ = jax.jit(other.apply)(recorded.variables, *inputs)
    whole = recorded.model.clone(reduction=None)
    everything, _ = jax.jit(whole.apply)(recorded.variables, *inputs)
    plain, _ = jax.jit(model.apply)(recorded.variables, *inputs)
    assert_close(compute(0.6, True), expected, 1e-5)
    assert_close(compute(1.0, True), everything, 1e-5)
    assert_close(compute(0.6, False), plain, 1e-5)
    assert np.abs(expected - plain).max() > 1e-3


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def reduce(reducer, tokens, row, amount, facts):
    token_set = TokenSet.start(tokens, facts.protected)
    return reducer(
        token_set, Seen(class_attention=row), Place(0, 0, amount, facts), train=False
    )


def test_recorded_block(golden, assert_close):
    """The choice and the fused token of one block, given what it attended to."""
    case = golden("reduction/evit_block")
    for setting in case.meta["arguments"]["settings"]:
        recorded = case.group(f"output/{setting['name']}")
        tokens = jnp.asarray(recorded["attended"])
        amount = setting["tokens"] or setting["keep_rate"]
        scores = recorded.get("class_attention", np.ones((2, tokens.shape[1] - 1)))
        row = jnp.pad(jnp.asarray(scores), ((0, 0), (1, 0)))[:, None]
        reducer = EViT(fuse_token=setting["fuse_token"], parent=None)
        left, found = reduce(reducer, tokens, row, amount, FACTS)
        assert_close(left.tokens, recorded["reduced"], 1e-6, setting["name"])
        assert left.tokens.shape[1] == recorded["count"] + 1
        if "indices" in recorded:
            reduced_models.check_indices(found.map, recorded["indices"])


@pytest.mark.parametrize("execution", ["gathered", "masked"])
def test_what_is_protected_stays(execution):
    """Also where the class token looks at nothing less (a distillation token)."""
    tokens = jnp.arange(12.0).reshape(1, 6, 2)
    row = jnp.array([[[0.0, 0.0, 0.4, 0.1, 0.2, 0.3]]])
    reducer = EViT(execution=execution, parent=None)
    facts = FACTS._replace(protected=2, distilled=True)
    left, found = reduce(reducer, tokens, row, 0.5, facts)
    fused = 0.1 * tokens[0, 3] + 0.2 * tokens[0, 4]
    if execution == "gathered":
        assert found.map.tolist() == [[0, 1, 2, 4, 4, 3]]
        np.testing.assert_allclose(left.tokens[0, 4], fused, rtol=1e-6)
    else:
        assert found.map.tolist() == [[0, 1, 2, 3, 3, 5]]
        assert left.keep.tolist() == [[1, 1, 1, 1, 0, 1]]
        np.testing.assert_allclose(left.tokens[0, 3], fused, rtol=1e-6)
    np.testing.assert_array_equal(left.tokens[0, :2], tokens[0, :2])
    np.testing.assert_allclose(found.scores, row[:, 0, 2:])


def test_where_it_acts():
    assert EViT(parent=None).amounts(FACTS) == dict.fromkeys((3, 6, 9), 0.7)
    assert EViT(parent=None).amounts(FACTS._replace(depth=2)) == {0: 0.7, 1: 0.7}
    assert EViT(keep_rate=1, parent=None).amounts(FACTS) == {}
    places = TopK(keep_rate=0.7, reduction_loc=(3, 6, 9), parent=None)
    assert places.amounts(FACTS) == {3: 137, 6: 96, 9: 67}


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("evit:keep_rate=(0.7,0.5)", "keep_rate has 2 entries for 12 blocks"),
        ("topk:keep_rate=0", "keep_rate must be within"),
        ("topk:reduction_loc=(6,3)", "reduction_loc must be ascending blocks"),
        (
            "evit:reduction_loc=(3,12)",
            "acts at block 12, and the model has blocks 0",
        ),
        ("topk:reduction_loc=(3,4),keep_rate=(0.7,0.5,0.3)", "3 entries for 2 places"),
        ("evit:fuse=True", "fuse_token"),
    ],
)
def test_bad_input(written, sentence):
    with pytest.raises(UserError, match=sentence):
        models.create("vit_tiny_patch16", reduction=written)


def test_no_class_token():
    with pytest.raises(UserError, match="EViT chooses by the attention of the class"):
        EViT(parent=None).places(FACTS._replace(class_token=False))
