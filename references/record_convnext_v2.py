"""Records tests/golden/peers/convnext_v2.npz from timm's ConvNeXt. See recording.py."""

import pathlib

import timm
import torch
from timm.models.convnext import ConvNeXt

from references.recording import record

GOLDEN = (
    pathlib.Path(__file__).parents[1] / "tests" / "golden" / "peers" / "convnext_v2.npz"
)
ARGUMENTS = {
    "depths": (1, 2, 1, 1),
    "dims": (8, 12, 16, 24),
    "kernel_sizes": 3,
    "num_classes": 5,
}


def main() -> None:
    """Record the case."""
    torch.manual_seed(0)
    module = ConvNeXt(**ARGUMENTS, use_grn=True, ls_init_value=None)
    # Cut off at every step: maps of 11 x 17, 5 x 8, 2 x 4 and 1 x 2.
    images = torch.randn(2, 3, 46, 70)
    source = f"timm {timm.__version__}, ConvNeXt with use_grn, without layer scale"
    record(GOLDEN, module, images, ARGUMENTS, source)


if __name__ == "__main__":
    main()
