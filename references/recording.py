"""Records a PyTorch module as a golden case: weights, images, logits, gradients.

Not part of the suite: the `record_*.py` scripts here use it, with PyTorch and timm.
"""

import json
import pathlib
from collections.abc import Mapping

import numpy as np
import torch


def record(
    path: pathlib.Path,
    module: torch.nn.Module,
    images: torch.Tensor,
    constructor_args: Mapping[str, object],
    source: str,
) -> None:
    """Write the case; see tests/golden/README.md for its keys.

    Every parameter is moved a little from where its initialisation left it, and running
    statistics are drawn anew: zeros and ones would hide mistakes. In inference mode;
    "grad/" holds the gradients of sum(logits * weights), weights under "input/weights".

    Args:
      images: (b, channels, height, width).
      constructor_args: of our model, JSON-able.
      source: what was recorded, with its version.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.1 * parameter.abs().mean().clamp(min=0.1) * noise
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    module.eval()
    logits = module(images)
    weights = torch.randn(logits.shape, generator=generator)
    (logits * weights).sum().backward()
    arrays = {"input/images": images, "input/weights": weights, "output/logits": logits}
    arrays |= {f"state/{name}": value for name, value in module.state_dict().items()}
    arrays |= {
        f"grad/{name}": parameter.grad
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }
    meta = {"constructor_args": dict(constructor_args), "source": source}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        meta=np.array(json.dumps(meta)),
        **{name: value.detach().numpy() for name, value in arrays.items()},
    )
