"""Flax linen modules by name: `create("vdpa", depth=4)`, `names()`, `register`."""

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
from tokenjax.models.registry import (
    argument_names,
    arguments,
    canonical_name,
    create,
    defaults,
    names,
    register,
    register_alias,
    values,
)
from tokenjax.models.routing.attention_routing import AttentionRouting
from tokenjax.models.routing.routing_baselines import (
    CheapCompute,
    FullCompute,
    NoRouting,
)
from tokenjax.models.vdpa import VDPA
from tokenjax.models.vit import VisionTransformer

__all__ = [
    "argument_names",
    "arguments",
    "canonical_name",
    "create",
    "defaults",
    "names",
    "register",
    "register_alias",
    "values",
]


def _register_ours() -> None:
    register("vdpa", VDPA)
    register("vit", VisionTransformer)
    register("cifar_vit_tiny", VisionTransformer, embed_dim=192, depth=12, num_heads=3)
    register("cifar_vit_small", VisionTransformer, embed_dim=384, depth=12, num_heads=6)
    register("cifar_vit_base", VisionTransformer)
    register("dynamic_vit", DynamicViT)
    register("linear_vit", LinearVisionTransformer)
    register("attention_routing", AttentionRouting)
    # Ours: 2.1 MFLOP of encoder where attention_routing has 22.4.
    lean = {"encoder": "lean", "encoder_channels": 40}
    register("attention_routing_lean", AttentionRouting, **lean)
    register("full_compute", FullCompute)
    register("cheap_compute", CheapCompute)
    register("no_routing", NoRouting)
    register("demo", DeMo)
    register("clip_vit", ClipVisionTransformer)
    register("camera_vit", CameraViT)
    register("t2t_vit", T2TViT)
    register("resnet50", ResNet)
    register("maxvit_tiny", MaxViT)
    for module_class, presets in (
        (CameraViT, camera_vit.PRESETS),
        (T2TViT, t2t_vit.PRESETS),
        (ImageNetViT, vision_transformer.PRESETS),
        (SwinTransformer, swin.PRESETS),
        (ConvNeXtV2, convnext_v2.PRESETS),
        (VMamba, vmamba.PRESETS),
    ):
        for name, preset in presets.items():
            register(name, module_class, **preset)
    # What the originals' command lines call them.
    register_alias("lightweight_vit", "linear_vit")
    register_alias("maxvit", "maxvit_tiny")
    register_alias("swin-transformer", "swin_base")
    # What is short for those that the originals' benchmarks compare.
    register_alias("swin", "swin_base")
    register_alias("convnext", "convnextv2_tiny")
    register_alias("vmamba", "vmamba_tiny")


_register_ours()
