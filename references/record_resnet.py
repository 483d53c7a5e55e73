"""Records tests/golden/peers/resnet.npz from timm's ResNet. See recording.py."""

import timm
import torch
from timm.models.resnet import Bottleneck, ResNet

from references.golden_files import PEERS
from references.recording import record

GOLDEN = PEERS / "resnet.npz"
ARGUMENTS = {
    "layers": (1, 2, 1, 1),
    "channels": (8, 12, 16, 20),
    "num_classes": 5,
}


def main() -> None:
    """Record the case."""
    torch.manual_seed(0)
    module = ResNet(Bottleneck, **ARGUMENTS, zero_init_last=False)
    images = torch.randn(2, 3, 45, 38)  # odd and even at several strides
    source = f"timm {timm.__version__}, ResNet with Bottleneck"
    record(GOLDEN, module, images, ARGUMENTS, source)


if __name__ == "__main__":
    main()
