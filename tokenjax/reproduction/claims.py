"""What CIFAR-ViT's README says of its four models; none of it was measured there."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

CLOSE = 0.1  # a claim holds if what is measured is off by no more than this share
FEWER_PARAMETERS = 0.4  # "40 % fewer parameters", of LightweightViT


class Claim(NamedTuple):
    """A row of its table, and the network that its files build.

    Attributes:
      title: its name there.
      parameters, flops: as claimed.
      accuracy: on CIFAR-10, a fraction; the README has "~".
      milliseconds: per image, on no named machine.
      model, arguments: what `models.create` builds of its recipe.
    """

    title: str
    parameters: float
    flops: float
    accuracy: float
    milliseconds: float
    model: str
    arguments: Mapping[str, object] = MappingProxyType({})


# As its yaml files have them; vit_base and vit_small are its factories' own.
_YAML = {"embed_dim": 384, "num_heads": 6}
CLAIMS = {
    "vit_base": Claim("vit_base", 8.5e6, 1.2e9, 0.85, 15, "cifar_vit_base"),
    "vit_small": Claim("vit_small", 6.0e6, 0.8e9, 0.83, 12, "cifar_vit_small"),
    "dynamic_vit": Claim(
        "DynamicViT",
        5.2e6,
        0.6e9,
        0.84,
        10,
        "dynamic_vit",
        MappingProxyType(_YAML | {"predictor": "linear", "pruning": "none"}),
    ),
    "linear_vit": Claim(
        "LightweightViT",
        4.8e6,
        0.5e9,
        0.82,
        8,
        "linear_vit",
        MappingProxyType(_YAML | {"mlp_ratio": 3.0}),
    ),
}
# What DynamicViT costs when its own `inference_mode=True` prunes, which it never asks.
PRUNING = MappingProxyType(
    _YAML | {"predictor": "linear", "pruning": "inference", "img_size": 32}
)
