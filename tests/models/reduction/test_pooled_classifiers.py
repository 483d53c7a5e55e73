"""Classifiers that read more than the class token, over tokens that merged."""

import functools

import pytest
from helpers import reduced_models

POOLED = {"global_pool": "avg"}
CASES = {
    "tome_vit_distilled": ("tome", ("r", "prop_attn"), {"distilled": True}),
    "tome_mae": ("tome", ("r", "prop_attn"), POOLED),
}


@pytest.fixture(scope="module")
def computed(golden):
    """name -> (recorded, computed)."""

    @functools.cache
    def compute(name):
        case = golden(f"reduction/{name}")
        method, keys, more = CASES[name]
        recorded = reduced_models.build_recorded(case, method, keys, **more)
        return recorded, reduced_models.compute(recorded)

    return compute


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_maps(computed, assert_close, name):
    reduced_models.check_outputs(*computed(name), assert_close)


@pytest.mark.parametrize("name", CASES)
def test_gradients(computed, assert_close, name):
    reduced_models.check_gradients(*computed(name), assert_close)
