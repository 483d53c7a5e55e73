"""Flax linen modules by name: `create("vdpa", depth=4)`, `names()`."""

import dataclasses
from typing import Any

import flax.linen as nn

from tokenjax.errors import UserError, unknown_name
from tokenjax.models.argument_checks import check_arguments
from tokenjax.models.baselines import convnext_v2, swin, vision_transformer, vmamba
from tokenjax.models.baselines.convnext_v2 import ConvNeXtV2
from tokenjax.models.baselines.maxvit import MaxViT
from tokenjax.models.baselines.resnet import ResNet
from tokenjax.models.baselines.swin import SwinTransformer
from tokenjax.models.baselines.vision_transformer import ImageNetViT
from tokenjax.models.baselines.vmamba import VMamba
from tokenjax.models.demo import camera_vit, t2t_vit
from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.demo.clip_vit import ClipVisionTransformer
from tokenjax.models.demo.demo_model import DeMo
from tokenjax.models.demo.t2t_vit import T2TViT
from tokenjax.models.dynamic_vit import DynamicViT
from tokenjax.models.linear_vit import LinearVisionTransformer
from tokenjax.models.routing.attention_routing import AttentionRouting
from tokenjax.models.routing.routing_baselines import (
    CheapCompute,
    FullCompute,
    NoRouting,
)
from tokenjax.models.vdpa import VDPA
from tokenjax.models.vit import VisionTransformer

# name -> (class, arguments that the name stands for)
_REGISTRY: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "vdpa": (VDPA, {}),
    "vit": (VisionTransformer, {}),
    "cifar_vit_tiny": (
        VisionTransformer,
        {"embed_dim": 192, "depth": 12, "num_heads": 3},
    ),
    "cifar_vit_small": (
        VisionTransformer,
        {"embed_dim": 384, "depth": 12, "num_heads": 6},
    ),
    "cifar_vit_base": (VisionTransformer, {}),
    "dynamic_vit": (DynamicViT, {}),
    "linear_vit": (LinearVisionTransformer, {}),
    "lightweight_vit": (LinearVisionTransformer, {}),  # the original's name
    "attention_routing": (AttentionRouting, {}),
    "attention_routing_lean": (  # ours: 2.1 MFLOP of encoder where it has 22.4
        AttentionRouting,
        {"encoder": "lean", "encoder_channels": 40},
    ),
    "full_compute": (FullCompute, {}),
    "cheap_compute": (CheapCompute, {}),
    "no_routing": (NoRouting, {}),
    "demo": (DeMo, {}),
    "clip_vit": (ClipVisionTransformer, {}),
    "camera_vit": (CameraViT, {}),
    **{name: (CameraViT, preset) for name, preset in camera_vit.PRESETS.items()},
    "maxvit_tiny": (MaxViT, {}),
    "resnet50": (ResNet, {}),
    **{name: (SwinTransformer, preset) for name, preset in swin.PRESETS.items()},
    **{name: (ConvNeXtV2, preset) for name, preset in convnext_v2.PRESETS.items()},
    "t2t_vit": (T2TViT, {}),
    **{name: (T2TViT, preset) for name, preset in t2t_vit.PRESETS.items()},
    **{name: (VMamba, preset) for name, preset in vmamba.PRESETS.items()},
    **{
        name: (ImageNetViT, preset)
        for name, preset in vision_transformer.PRESETS.items()
    },
}


def names() -> list[str]:
    """Every name that `create` knows."""
    return sorted(_REGISTRY)


def argument_names(name: str) -> list[str]:
    """The constructor arguments of a model.

    Raises: UserError for an unknown name, listing the valid ones.
    """
    if name not in _REGISTRY:
        raise UserError(unknown_name("model", name, names()))
    fields = dataclasses.fields(_REGISTRY[name][0])
    return [field.name for field in fields if field.name not in ("parent", "name")]


def create(name: str, **kwargs: Any) -> nn.Module:
    """Builds a model; arguments are those of the original PyTorch class and `dtype`.

    Raises: UserError (a ValueError) for an unknown name or argument, listing the valid
    ones and the nearest, and for arguments that do not fit together.
    """
    valid = argument_names(name)
    for key in kwargs:
        if key not in valid:
            raise UserError(unknown_name(f"argument of {name}", key, valid))
    model_class, preset = _REGISTRY[name]
    try:
        model = model_class(**{**preset, **kwargs})
    except UserError:
        raise
    except Exception:  # it divides by an argument of 0, compares one of another type
        check_arguments(name, model_class, kwargs)
        raise
    check_arguments(name, model_class, kwargs)
    return model
