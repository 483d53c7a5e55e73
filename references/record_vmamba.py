"""Records tests/golden/peers/vmamba.npz from VMamba's own program. See recording.py.

Usage: record_vmamba.py CHECKOUT, with the path of a checkout of MzeroMiko/VMamba. Its
scan runs in plain PyTorch where none of its CUDA extensions is installed. Of what it
imports, timm is needed; what this version does not use is replaced: Triton (kernels),
fvcore (counting) and Mamba 2 (which needs einops).
"""

import contextlib
import importlib
import json
import pathlib
import sys
from unittest import mock

import timm.layers  # noqa: F401  before the replacements, which PyTorch would try
import torch

from references.golden_files import PEERS
from references.recording import record

GOLDEN = PEERS / "vmamba.npz"
UNUSED = (
    *("triton", "triton.language", "fvcore", "fvcore.nn"),
    *("models.mamba2", "models.mamba2.ssd_minimal"),
)
COMMIT = "2ed52ea"
ARGUMENTS = {
    "num_classes": 5,
    "depths": (1, 1),
    "dims": 8,
    "ssm_d_state": 2,
    "ssm_ratio": 1.5,
    "ssm_conv_bias": True,
    "mlp_ratio": 2.0,
}
VERSION = {
    "forward_type": "v05_noz",
    "norm_layer": "ln2d",
    "downsample_version": "v3",
    "patchembed_version": "v2",
}


def load(checkout: str) -> type[torch.nn.Module]:
    """Load the class VSSM of a checkout."""
    torch.cuda.device = contextlib.nullcontext  # entered on CPU too, where it raises
    sys.path.insert(0, str(pathlib.Path(checkout) / "classification"))
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in UNUSED}):
        return importlib.import_module("models.vmamba").VSSM


def main() -> None:
    """Record the case."""
    torch.manual_seed(0)
    module = load(sys.argv[1])(**ARGUMENTS, **VERSION)
    images = torch.randn(2, 3, 38, 45)  # maps of 10 x 12 and 5 x 6
    source = f"MzeroMiko/VMamba {COMMIT}, classification, VSSM {json.dumps(VERSION)}"
    record(GOLDEN, module, images, ARGUMENTS, source)


if __name__ == "__main__":
    main()
