"""Keys of timm's VisionTransformer."""

import dataclasses

from tokenjax.convert.mapping import Table, linear
from tokenjax.convert.tables.camera_vit import camera_vit_table
from tokenjax.models.baselines.vision_transformer import ImageNetViT


def imagenet_vit_table(model: ImageNetViT) -> Table:
    """Return the keys of `CameraViT`, which are in "encoder" here, and the head's."""
    entries = [
        dataclasses.replace(entry, path=("params", "encoder", *entry.path[1:]))
        for entry in camera_vit_table(model.encoder()).entries
    ]
    return Table((*entries, *linear("head", ("params", "head"))))
