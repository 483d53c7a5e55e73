"""One key table per architecture: a function from a model to its `Table`."""

import collections
from collections.abc import Callable

import flax.linen as nn

from tokenjax.convert.mapping import Table
from tokenjax.convert.tables.camera_vit import camera_vit_table
from tokenjax.convert.tables.clip_vit import clip_vit_table
from tokenjax.convert.tables.convnext_v2 import convnext_v2_table
from tokenjax.convert.tables.demo import demo_table
from tokenjax.convert.tables.imagenet_vit import imagenet_vit_table
from tokenjax.convert.tables.maxvit import maxvit_table
from tokenjax.convert.tables.modality_fusion import modality_fusion_table
from tokenjax.convert.tables.resnet import resnet_table
from tokenjax.convert.tables.routing import routing_table
from tokenjax.convert.tables.sdtps import (
    sdtps_table,
    token_aggregation_table,
    token_sparse_table,
)
from tokenjax.convert.tables.swin import swin_table
from tokenjax.convert.tables.t2t_vit import t2t_vit_table
from tokenjax.convert.tables.vdpa import vdpa_table
from tokenjax.convert.tables.vit import dynamic_vit_table, vit_table
from tokenjax.convert.tables.vmamba import vmamba_table
from tokenjax.errors import ConversionError
from tokenjax.models.baselines.convnext_v2 import ConvNeXtV2
from tokenjax.models.baselines.maxvit import MaxViT
from tokenjax.models.baselines.resnet import ResNet
from tokenjax.models.baselines.swin import SwinTransformer
from tokenjax.models.baselines.vision_transformer import ImageNetViT
from tokenjax.models.baselines.vmamba import VMamba
from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.demo.clip_vit import ClipVisionTransformer
from tokenjax.models.demo.demo_model import DeMo
from tokenjax.models.demo.modality_fusion import GeneralFusion
from tokenjax.models.demo.sdtps import MultiModalSDTPS, TokenAggregation, TokenSparse
from tokenjax.models.demo.t2t_vit import T2TViT
from tokenjax.models.dynamic_vit import DynamicViT
from tokenjax.models.linear_vit import LinearVisionTransformer
from tokenjax.models.routing import (
    AttentionRouting,
    CheapCompute,
    FullCompute,
    NoRouting,
)
from tokenjax.models.vdpa import VDPA
from tokenjax.models.vit import VisionTransformer

_TABLES: dict[type[nn.Module], Callable[..., Table]] = {
    VDPA: vdpa_table,
    VisionTransformer: vit_table,
    DynamicViT: dynamic_vit_table,
    LinearVisionTransformer: vit_table,
    GeneralFusion: modality_fusion_table,
    ClipVisionTransformer: clip_vit_table,
    CameraViT: camera_vit_table,
    MaxViT: maxvit_table,
    ImageNetViT: imagenet_vit_table,
    ResNet: resnet_table,
    VMamba: vmamba_table,
    SwinTransformer: swin_table,
    ConvNeXtV2: convnext_v2_table,
    T2TViT: t2t_vit_table,
    TokenSparse: token_sparse_table,
    TokenAggregation: token_aggregation_table,
    MultiModalSDTPS: sdtps_table,
    DeMo: demo_table,
    AttentionRouting: routing_table,
    FullCompute: routing_table,
    CheapCompute: routing_table,
    NoRouting: routing_table,
}


def table_for(model: nn.Module) -> Table:
    """Return the key table of a model.

    Raises: ConversionError if there is none for its class, or two of its parameters
      would have one key.
    """
    if type(model) not in _TABLES:
        known = ", ".join(sorted(cls.__name__ for cls in _TABLES))
        raise ConversionError(
            f"no conversion from PyTorch for {type(model).__name__}; "
            f"there is for {known}"
        )
    table = _TABLES[type(model)](model)
    keys = collections.Counter(entry.torch_key for entry in table.entries)
    twice = [key for key, count in keys.items() if count > 1]
    if twice:
        raise ConversionError(
            f"two parts of this {type(model).__name__} have the key {twice[0]} in "
            "PyTorch, so no state_dict can hold both"
        )
    return table
