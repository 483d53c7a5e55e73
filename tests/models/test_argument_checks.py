"""Arguments of the wrong type or size are refused before a model is built."""

import pytest

from tokenjax import models
from tokenjax.errors import UserError


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("vdpa", {"depth": "deep"}, "vdpa: depth must be int, got 'deep'"),
        ("vdpa", {"depth": 1.5}, "depth must be int, got 1.5"),
        ("vdpa", {"depth": True}, "depth must be int, got True"),
        ("vdpa", {"depth": -1}, "depth must be at least 1 and at most 1048576"),
        ("vdpa", {"num_heads": 0}, "num_heads must be at least 1"),
        ("vdpa", {"embed_dim": 10**12}, "embed_dim must be at least 1 and at most"),
        ("vdpa", {"drop": float("nan")}, "drop must be finite, got nan"),
        ("vdpa", {"drop": "x"}, "drop must be float"),
        ("camera_vit", {"qkv_bias": 1}, "qkv_bias must be bool"),
        ("vdpa", {"remat": 3}, "remat must be bool"),
        ("vdpa", {"dtype": "float33"}, "dtype must be a floating type, got 'float33'"),
        ("vdpa", {"dtype": "int32"}, "dtype must be a floating type"),
        ("camera_vit", {"img_size": (0, 8)}, "img_size must be one or two"),
        ("camera_vit", {"img_size": (8, 8, 8)}, "img_size must be one or two"),
        ("demo", {"sie_coe": "x"}, "sie_coe must be float"),
        ("maxvit_tiny", {"depths": [2, 2, 5, 2**21]}, "depths must be at least 1"),
    ],
)
def test_what_is_refused(name, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        models.create(name, **arguments)


@pytest.mark.parametrize("name", models.names())
def test_defaults_pass_as_arguments(name):
    """Declared types and defaults agree, and a tuple may come as JSON's list."""
    model = models.create(name)
    for key in models.argument_names(name):
        value = getattr(model, key)
        default = list(value) if isinstance(value, tuple) else value
        assert getattr(models.create(name, **{key: default}), key) is not None or (
            default is None
        )
