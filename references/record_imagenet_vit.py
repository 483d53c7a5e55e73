"""Records tests/golden/peers/imagenet_vit.npz from timm. See recording.py."""

import pathlib

import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from references.recording import record

GOLDEN = (
    pathlib.Path(__file__).parents[1]
    / "tests"
    / "golden"
    / "peers"
    / "imagenet_vit.npz"
)
ARGUMENTS = {
    "img_size": (27, 16),  # three rows are cut off
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "num_classes": 5,
}


def main() -> None:
    """Record the case."""
    torch.manual_seed(0)
    module = VisionTransformer(**ARGUMENTS)
    images = torch.randn(2, 3, *ARGUMENTS["img_size"])
    source = f"timm {timm.__version__}, VisionTransformer"
    record(GOLDEN, module, images, ARGUMENTS, source)


if __name__ == "__main__":
    main()
