"""ToMe in a whole ViT, against its own program and TokenReduction's."""

import functools

import pytest
from helpers import reduced_models

CASES = {
    "tome_vit": ("r", "prop_attn"),
    "tome_vit_plain_attention": ("r", "prop_attn"),
    "tome_counts_vit": ("keep_rate", "reduction_loc"),
}


@pytest.fixture(scope="module")
def computed(golden):
    """name -> (recorded, computed)."""

    @functools.cache
    def compute(name):
        case = golden(f"reduction/{name}")
        recorded = reduced_models.build_recorded(case, "tome", CASES[name])
        return recorded, reduced_models.compute(recorded)

    return compute


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_maps(computed, assert_close, name):
    reduced_models.check_outputs(*computed(name), assert_close)


@pytest.mark.parametrize("name", CASES)
def test_gradients(computed, assert_close, name):
    reduced_models.check_gradients(*computed(name), assert_close)
