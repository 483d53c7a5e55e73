"""DeMo: re-identification from several modalities, its backbones and its fusions."""

from tokenjax.models.demo.camera_vit import CameraViT
from tokenjax.models.demo.clip_vit import ClipVisionTransformer
from tokenjax.models.demo.demo_model import DeMo
from tokenjax.models.demo.t2t_vit import T2TViT

__all__ = ["CameraViT", "ClipVisionTransformer", "DeMo", "T2TViT"]
