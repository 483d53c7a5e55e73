"""PiToMe in a whole ViT, against its own program; what the original fails at."""

import functools

import jax
import numpy as np
import pytest
from helpers import reduced_models

from tokenjax import models
from tokenjax.errors import UserError
from tokenjax.models.attention import Seen
from tokenjax.models.reduction import EncoderFacts, Place, TokenSet
from tokenjax.models.reduction.pitome import PiToMe
from tokenjax.ops import energy_matching, similarity, token_merging

FACTS = EncoderFacts(4, 8, 1, True, False, 8, 2)


CASES = {"pitome_vit": {}, "pitome_mae": {"global_pool": "avg"}}


@pytest.fixture(scope="module")
def computed(golden):
    """name -> (recorded, computed)."""

    @functools.cache
    def compute(name):
        case = golden(f"reduction/{name}")
        recorded = reduced_models.build_recorded(
            case, "pitome", ("ratio",), **CASES[name]
        )
        return recorded, reduced_models.compute(recorded)

    return compute


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_maps(computed, assert_close, name):
    reduced_models.check_outputs(*computed(name), assert_close)


@pytest.mark.parametrize("name", CASES)
def test_gradients(computed, assert_close, name):
    reduced_models.check_gradients(*computed(name), assert_close)


def reduce(ratio, block, patches=8, facts=FACTS, **more):
    """Return the map of one block, and the sizes left."""
    lead = facts.protected
    shape = (1, lead + patches, 4)
    tokens, keys = (jax.random.normal(jax.random.key(seed), shape) for seed in (0, 1))
    left, found = jax.jit(
        lambda tokens, keys: PiToMe(ratio=ratio, parent=None, **more)(
            TokenSet.start(tokens, lead),
            Seen(keys=keys[:, None]),
            Place(block, block, ratio, facts),
            False,
        )
    )(tokens, keys)
    return np.asarray(found.map[0]), left.sizes


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize(("ratio", "left"), [(0.3, 4), (0.5, 4), (0.9, 8)])
def test_at_most_half_merge_and_none_will_do(block, ratio, left):
    """The original raises at 0.3, and in its later blocks where nothing merges."""
    step, sizes = reduce(ratio, block)
    assert sorted(set(step.tolist())) == list(range(1 + left))
    if left == 8:
        assert sizes is None
        assert step.tolist() == list(range(9))
    else:
        assert sizes[0, 0] == 1
        assert sizes.sum() == 9


@pytest.mark.parametrize(
    ("block", "pool", "form"),
    [
        (0, "token", energy_matching.merge_matched),
        (2, "token", energy_matching.merge_matched),
        (3, "token", energy_matching.merge_paired),
        (0, "avg", energy_matching.merge_paired),
        (3, "avg", energy_matching.merge_matched),
    ],
)
def test_the_forms_change_places_for_the_mean_of_patches(block, pool, form):
    """The half is rounded up: of 5 blocks the first three."""
    facts = FACTS._replace(depth=5, pool=pool)
    keys = jax.random.normal(jax.random.key(1), (1, 9, 4))
    unit = similarity.unit_vectors(keys[:, 1:])
    energy = energy_matching.find_energy(unit, 0.75 - 0.15 * block)
    expected = token_merging.find_outputs(form(unit, energy, 2), 9)
    np.testing.assert_array_equal(reduce(0.7, block, facts=facts)[0], expected[0])


def test_the_protected_stay():
    facts = FACTS._replace(protected=2, distilled=True)
    for block in (1, 2):
        step, sizes = reduce(0.6, block, facts=facts)
        assert step[:2].tolist() == [0, 1]
        assert (step[2:] > 1).all()
        assert sizes[0, :2].tolist() == [1, 1]


def test_bad_input():
    with pytest.raises(UserError, match="ratio must be above 0"):
        models.create("vit_tiny_patch16", reduction="pitome:ratio=0")


def test_ratio_one_is_no_reduction():
    assert PiToMe(ratio=1.0, parent=None).amounts(FACTS) == {}
    assert len(PiToMe(parent=None).amounts(FACTS)) == 4
