"""Records tests/golden/peers/maxvit.npz from timm's MaxViT. See recording.py."""

import timm
import torch

from references.golden_files import PEERS
from references.recording import record

GOLDEN = PEERS / "maxvit.npz"
ARGUMENTS = {
    "img_size": (64, 96),  # windows of 2 x 3
    "embed_dim": (8, 16),  # the first stage's shortcut has no layer, the second's has
    "depths": (2, 1),
    "stem_width": 8,
    "head_hidden_size": 12,
    "transformer_dim_head": 8,
    "num_classes": 5,
}


def main() -> None:
    """Record the case."""
    torch.manual_seed(0)
    module = timm.create_model("maxvit_tiny_tf_224", **ARGUMENTS)
    images = torch.randn(2, 3, *ARGUMENTS["img_size"])
    source = f"timm {timm.__version__}, MaxxVit as maxvit_tiny_tf_224"
    record(GOLDEN, module, images, ARGUMENTS, source)


if __name__ == "__main__":
    main()
