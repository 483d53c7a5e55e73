"""DiffRate at given counts: recorded ViTs, and what the original fails at."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import reduced_models

from tokenjax import models
from tokenjax.errors import UserError
from tokenjax.models.attention import Seen
from tokenjax.models.reduction import EncoderFacts, Place, TokenSet
from tokenjax.models.reduction.diffrate import SMALLEST_SIZE, DiffRate

CASES = {"diffrate_vit": {}, "diffrate_mae": {"global_pool": "avg"}}
FACTS = EncoderFacts(12, 196, 1, True, False, 8, 2)
SHIPPED = (197, 196, 190, 168, 150, 139, 129, 117, 99, 78, 58, 3)
SHIPPED_MERGED = (197, 194, 176, 156, 141, 133, 121, 107, 88, 64, 56, 3)


@pytest.fixture(scope="module")
def computed(golden):
    """name -> (recorded, computed)."""

    @functools.cache
    def compute(name):
        case = golden(f"reduction/{name}")
        keys = ("prune_kept", "merge_kept")
        recorded = reduced_models.build_recorded(case, "diffrate", keys, **CASES[name])
        return recorded, reduced_models.compute(recorded)

    return compute


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_maps(computed, assert_close, name):
    reduced_models.check_outputs(*computed(name), assert_close)


@pytest.mark.parametrize("name", CASES)
def test_gradients(computed, assert_close, name):
    reduced_models.check_gradients(*computed(name), assert_close)


@functools.partial(jax.jit, static_argnums=(2, 3))
def reduce(tokens, row, amount, protected):
    facts = FACTS._replace(protected=protected)
    return DiffRate(parent=None)(
        TokenSet.start(tokens, protected),
        Seen(class_attention=row),
        Place(0, 0, amount, facts),
        False,
    )


def test_a_size_never_comes_to_nothing():
    """Three that point away from their receiver: 1 - 3 cos, whose log is NaN."""
    tokens = jnp.array([[[0.0, 1], [1, 0], [-1, 0], [-2, 0], [-3, 0]]])
    row = jnp.array([[[0.1, 0.4, 0.3, 0.15, 0.05]]])
    left, found = reduce(tokens, row, (5, 2), 1)
    assert found.map.tolist() == [[0, 1, 1, 1, 1]]
    np.testing.assert_array_equal(left.sizes, np.float32([[1, SMALLEST_SIZE]]))


def test_the_protected_lead_and_stay():
    tokens = jax.random.normal(jax.random.key(0), (2, 7, 4))
    row = jnp.array([[[0, 0, 0.1, 0.3, 0.2, 0.25, 0.15]]] * 2)
    left, found = reduce(tokens, row, (6, 4), 2)
    assert found.map[0, :4].tolist() == [0, 1, -1, 2]
    assert found.map[0, 5].tolist() == 3
    assert (np.asarray(found.map[:, [4, 6]]) >= 2).all()
    np.testing.assert_array_equal(left.tokens[:, :2], tokens[:, :2])


def test_counts_unless_they_are_given():
    def counts(facts):
        return tuple(zip(*DiffRate(parent=None).amounts(facts).values(), strict=True))

    assert counts(FACTS) == (SHIPPED, SHIPPED_MERGED)
    distilled = counts(FACTS._replace(protected=2))
    assert distilled == tuple(
        tuple(count + 1 for count in each) for each in (SHIPPED, SHIPPED_MERGED)
    )
    pooled = counts(FACTS._replace(pool="avg"))
    assert pooled[1] == (*SHIPPED_MERGED[:-1], 56)
    assert counts(FACTS._replace(depth=3, patches=4)) == ((5, 4, 2), (5, 4, 2))


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("diffrate:prune_kept=(9,9)", "prune_kept and merge_kept go together"),
        ("diffrate:prune_kept=(9,9),merge_kept=(9,9)", "2 entries for 12 blocks"),
        (
            f"diffrate:prune_kept={(9,) * 12},merge_kept={(9,) * 11 + (1,)}",
            "merge_kept = 1 leaves no patch: it counts the 1 that always stay",
        ),
    ],
)
def test_bad_input(written, sentence):
    with pytest.raises(UserError, match=sentence):
        models.create("vit_tiny_patch16", reduction=written)


def test_no_class_token():
    with pytest.raises(UserError, match="DiffRate chooses by the attention of the"):
        DiffRate(parent=None).places(FACTS._replace(class_token=False, protected=0))
