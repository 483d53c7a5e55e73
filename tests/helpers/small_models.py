"""Every classifier of the registry, small, and the variants that tests hold it to."""

import pytest

from tokenjax import models
from tokenjax.models.demo import camera_vit, t2t_vit

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
ROUTED = {
    "img_size": 16,
    "patch_grid": 2,
    "encoder_channels": 10,
    "threshold": 0.5035,  # between the scores, far from each: bfloat16 decides alike
    "big_hidden_dim": 16,
    "small_hidden_dim": 8,
    "embed_dim": 8,
    "aggregator_dim": 16,
    "head_hidden_dim": 16,
}
SWIN = {
    "img_size": 18,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": (2, 1),
    "num_heads": (1, 2),
    "window_size": 4,
    "drop_path_rate": 0.0,
}
MAXVIT = {
    "img_size": 64,
    "embed_dim": (8,),
    "depths": (1,),
    "stem_width": 4,
    "head_hidden_size": 6,
    "transformer_dim_head": 4,
    "drop_path_rate": 0.1,
}
VMAMBA = {
    "img_size": 16,
    "depths": (1, 1),
    "dims": 8,
    "mlp_ratio": 2.0,
    "drop_path_rate": 0.1,
}
CONVNEXT = {"img_size": 16, "depths": (1, 1), "dims": (8, 12)}
MASKED = {"execution": "masked"}  # gathered costs a second program per capacity
SMALL = {
    "vdpa": TINY,
    "vit": TINY,
    "cifar_vit_tiny": TINY,
    "cifar_vit_small": TINY,
    "cifar_vit_base": TINY,
    "linear_vit": TINY,
    "lightweight_vit": TINY,
    "dynamic_vit": TINY | {"depth": 4},
    "attention_routing": ROUTED,
    "attention_routing_lean": ROUTED | {"threshold": 0.5165},
    "full_compute": ROUTED,
    "cheap_compute": ROUTED,
    "no_routing": ROUTED,
    "maxvit_tiny": MAXVIT,
    "maxvit": MAXVIT,
    "resnet50": {"layers": (1, 1), "channels": (4, 6), "img_size": 32},
    "vmamba_tiny": VMAMBA,
    "vmamba": VMAMBA,
    "swin_tiny": SWIN,
    "swin_base": SWIN,
    "swin-transformer": SWIN,
    "swin": SWIN,
    "convnextv2_tiny": CONVNEXT,
    "convnext": CONVNEXT,
    "vit_base_patch16": TINY,
    "vit_small_patch16": TINY,
    "vit_tiny_patch16": TINY,
}
DEMO = {
    "image_size": (16, 8),  # 4 x 2 patches
    "patch_size": 4,
    "stride_size": (4, 4),
    "width": 16,
    "depth": 1,
    "num_heads": 2,
    "feat_dim": 64,
    "num_classes": 5,
    "camera_num": 3,
}
# Give something else than (logits, aux): the file of tests that holds each to account.
ELSEWHERE = {
    "demo": "test_demo_arguments.py",
    "clip_vit": "test_clip_vit.py",
    **dict.fromkeys(("camera_vit", *camera_vit.PRESETS), "test_camera_vit.py"),
    **dict.fromkeys(("t2t_vit", *t2t_vit.PRESETS), "test_t2t_vit.py"),
}
SAME_CLASS = {"cifar_vit_tiny", "cifar_vit_small", "cifar_vit_base", "lightweight_vit"}
SAME_CLASS |= {"attention_routing_lean", "swin_base", "swin-transformer", "maxvit"}
SAME_CLASS |= {"swin", "convnext", "vmamba"}
SAME_CLASS |= {"vit_small_patch16", "vit_tiny_patch16"}
NAMES = sorted(set(SMALL) - SAME_CLASS)
VARIANTS = {
    **{name: (name, {}) for name in SMALL if name in NAMES},
    "vdpa_soft_topk": ("vdpa", {"stk": "soft_topk", "stk_temperature": 0.1}),
    "vdpa_global": ("vdpa", {"global_tokens": 3}),
    "vdpa_border": ("vdpa", {"alp_border": "renormalise", "k_neighbors": 4}),
    "vdpa_dropout": ("vdpa", {"drop": 0.1, "attn_drop": 0.1}),
    "vdpa_remat": ("vdpa", {"remat": True}),
    "vit_remat": ("vit", {"remat": True}),
    "vit_base_patch16_remat": ("vit_base_patch16", {"remat": True}),
    "vit_base_patch16_distilled": (
        "vit_base_patch16",
        {"distilled": True, "init_values": 0.1},
    ),
    "vit_base_patch16_registers": (
        "vit_base_patch16",
        {"reg_tokens": 2, "no_embed_class": True, "qk_norm": True}
        | {"class_token": False, "global_pool": "avg"},
    ),
    "vit_patch_dropout": ("vit", {"patch_dropout": 0.5, "initialization": "xavier"}),
    "linear_vit_remat": ("linear_vit", {"remat": True}),
    "dynamic_vit_remat": ("dynamic_vit", {"remat": True}),
    "dynamic_vit_masked": ("dynamic_vit", {"execution": "masked"}),
    "dynamic_vit_linear": ("dynamic_vit", {"predictor": "linear"}),
    "routing_sigmoid_gate": ("attention_routing", MASKED | {"router": "sigmoid_gate"}),
    "routing_gumbel": ("attention_routing", MASKED | {"router": "gumbel"}),
    "routing_top_k": ("attention_routing", MASKED | {"router": "top_k"}),
    "routing_global": ("attention_routing", MASKED | {"attention": "global"}),
    "routing_mean": ("attention_routing", MASKED | {"aggregator": "mean"}),
    "routing_attention": ("attention_routing", MASKED | {"aggregator": "attention"}),
    "routing_lean": ("attention_routing_lean", MASKED),
    "routing_executed": ("attention_routing", {"mask_gradient": "executed"}),
}
# Of several variants of one idea `make test` takes the first.
LONG = {variant for variant in VARIANTS if variant.endswith("_remat")}
LONG |= {"vit_base_patch16_distilled", "vit_base_patch16_registers"}
LONG |= {"vdpa_global", "vdpa_border", "vdpa_dropout", "dynamic_vit_masked"}
LONG |= {"routing_sigmoid_gate", "routing_top_k", "routing_global"}
LONG |= {"routing_mean", "routing_attention", "dynamic_vit_linear"}
# Of tests that compile each of `NAMES`, `make test` takes those of these families.
FEW = ("vit", "vdpa", "dynamic_vit", "attention_routing", "swin_tiny")
UNUSED = {
    # The original has a predictor after the last block too, and never asks it.
    "dynamic_vit_linear": ("predictors_3",),
    # The original's baselines have the encoder and read nothing of it.
    "full_compute": ("encoder", "attention_head"),
    "cheap_compute": ("encoder", "attention_head"),
    "no_routing": ("encoder",),
}


def some_long(names):
    """Return parameters of which those that are not of `FEW` are marked long."""
    return [
        pytest.param(name, marks=() if name in FEW else pytest.mark.long)
        for name in names
    ]


def small(variant, **more):
    name, arguments = VARIANTS[variant]
    return models.create(name, **{"num_classes": 7} | SMALL[name] | arguments | more)


def small_demo(**more):
    return models.create("demo", **DEMO | more)


def takes(name, argument):
    return argument in models.argument_names(name)
