"""A PyTorch module as a program to be timed: inference or a training step.

float32 products on a GPU run as TF32, as JAX runs them by default; bfloat16 is
autocast, PyTorch's automatic mixed precision.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from tokenjax.benchmark import program

if TYPE_CHECKING:
    import torch

Call = Callable[..., "torch.Tensor"]  # of the arguments that `Peer.convert` makes


# Logits alone or first of several; of DeMo a dict, which has "concat" in inference.
Outputs = Any


class Peer(NamedTuple):
    """A PyTorch module, and how it is called.

    Attributes:
      module: with the weights of ours, on its device.
      source: what it is, with versions.
      convert: our example inputs -> its arguments.
    """

    module: "torch.nn.Module"
    source: str
    convert: Callable[[Sequence[object]], tuple]


def converter(device: "torch.device") -> Callable[[Sequence[object]], tuple]:
    """Turn every image (b, h, w, c) into (b, c, h, w), integers into int64."""
    import torch

    def one(leaf: object) -> torch.Tensor:
        array = np.asarray(leaf)
        if array.ndim == 4:
            array = array.transpose(0, 3, 1, 2)
        integers = np.issubdtype(array.dtype, np.integer)
        tensor = torch.from_numpy(np.array(array, order="C"))
        return tensor.to(device, torch.int64 if integers else torch.float32)

    return lambda example: tuple(jax.tree.map(one, tuple(example)))


def inference(peer: Peer, dtype: str, compiled: bool) -> Call:
    """Return one call of the module in inference, to its end."""
    import torch

    module = torch.compile(peer.module.eval()) if compiled else peer.module.eval()

    def call(*arguments: object) -> torch.Tensor:
        with torch.inference_mode(), _autocast(dtype):
            output = _first(module(*arguments))
        _finish()
        return output

    return call


def training(peer: Peer, dtype: str, compiled: bool) -> Call:
    """Return one step: forward, mean cross entropy of every score, backward, AdamW."""
    import torch

    peer.module.train()
    module = torch.compile(peer.module) if compiled else peer.module
    optimizer = torch.optim.AdamW(
        peer.module.parameters(),
        lr=program.LEARNING_RATE,
        weight_decay=program.WEIGHT_DECAY,
    )

    def call(*arguments: object) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with _autocast(dtype):
            scores = _scores(module(*arguments))
        losses = [
            torch.nn.functional.cross_entropy(
                each.float(),
                torch.arange(len(each), device=each.device) % each.shape[-1],
            )
            for each in scores
        ]
        loss = torch.stack(losses).sum()
        loss.backward()
        optimizer.step()
        _finish()
        return loss.detach()

    return call


def _autocast(dtype: str) -> contextlib.AbstractContextManager:
    import torch

    if dtype == "float32":
        return contextlib.nullcontext()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, torch.bfloat16)


def _finish() -> None:
    """Wait for a GPU; a CPU has finished when it returns."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _first(outputs: Outputs) -> "torch.Tensor":
    """Return logits, or the feature for retrieval, as `program.first_output` does."""
    if isinstance(outputs, dict):
        return outputs["concat"]
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _scores(outputs: Outputs) -> list["torch.Tensor"]:
    """Return all that have a loss; DeMo has (scores, feature) by its heads' names."""
    if isinstance(outputs, dict):
        return [scores for scores, _ in outputs.values()]
    return [_first(outputs)]
