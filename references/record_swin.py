"""Records tests/golden/peers/swin.npz from timm's SwinTransformer. See recording.py."""

import timm
import torch
from timm.models.swin_transformer import SwinTransformer

from references.golden_files import PEERS
from references.recording import record

GOLDEN = PEERS / "swin.npz"
ARGUMENTS = {
    # A row is cut off. Maps of 13 x 7, 7 x 4 and 4 x 2: padded and shifted along both
    # axes, along one, and no larger than the window; both mergings add zeros.
    "img_size": (53, 28),
    "embed_dim": 8,
    "depths": (2, 2, 1),
    "num_heads": (1, 2, 2),
    "window_size": 4,
    "num_classes": 5,
}


def main() -> None:
    """Record the case."""
    torch.manual_seed(0)
    module = SwinTransformer(**ARGUMENTS)
    images = torch.randn(2, 3, *ARGUMENTS["img_size"])
    source = f"timm {timm.__version__}, SwinTransformer"
    record(GOLDEN, module, images, ARGUMENTS, source)


if __name__ == "__main__":
    main()
