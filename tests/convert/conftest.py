"""A small model and its weights by PyTorch's keys, for odd and hostile files."""

import pytest
from helpers.drawn_variables import drawn_variables

from tokenjax import convert, models

ARGUMENTS = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2}


@pytest.fixture(scope="session")
def model():
    return models.create("vit", **ARGUMENTS)


@pytest.fixture(scope="session")
def state(model):
    variables = drawn_variables(model, *model.example_inputs(1))
    return convert.to_torch(model, variables)
