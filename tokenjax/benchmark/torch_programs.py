"""A PyTorch module as a program to be timed: inference or a training step.

float32 products on a GPU run as TF32, as JAX runs them by default; bfloat16 and float16
are autocast, PyTorch's automatic mixed precision. A training step in float16 scales no
loss: it costs what it costs, and its gradients are of no use.
"""

import contextlib
import dataclasses
import pathlib
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from tokenjax.benchmark import program
from tokenjax.errors import UserError

if TYPE_CHECKING:
    import torch

# Logits alone or first of several; of DeMo a dict, which has "concat" in inference.
Outputs = Any


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a program, to its end, of the arguments that `Peer.convert` makes.

    `queue` starts it, and returns while a GPU is still at it; `wait` is for that.
    """

    queue: Callable[..., "torch.Tensor"]

    def __call__(self, *arguments: object) -> "torch.Tensor":
        """Call it and wait."""
        output = self.queue(*arguments)
        wait([output])
        return output


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
    """Return one call of the module in inference."""
    import torch

    module = torch.compile(peer.module.eval()) if compiled else peer.module.eval()

    def call(*arguments: object) -> torch.Tensor:
        with torch.inference_mode(), _autocast(dtype):
            return _first(module(*arguments))

    return Call(call)


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
        return loss.detach()

    return Call(call)


def answer(
    peer: Peer, gradients: bool, combination: Callable[[tuple[int, ...]], np.ndarray]
) -> Callable[..., tuple[list[np.ndarray], list[np.ndarray]]]:
    """Return (dtype, *arguments) -> the output, and the gradients by all parameters.

    In inference mode; `combination` gives, of the output's shape, the weights of the
    sum that is differentiated. Without `gradients` there are none.
    """
    import torch

    module = peer.module.eval()
    parameters = [each for each in module.parameters() if each.requires_grad]

    def call(dtype: str, *arguments: object) -> tuple:
        with torch.set_grad_enabled(gradients):
            with _autocast(dtype):
                output = _first(module(*arguments)).float()
            found: tuple[torch.Tensor | None, ...] = ()
            if gradients:
                weights = torch.from_numpy(combination(tuple(output.shape)))
                total = (output * weights.to(output.device)).sum()
                found = torch.autograd.grad(total, parameters, allow_unused=True)
        numbers = [each.float().cpu().numpy() for each in found if each is not None]
        return [output.detach().cpu().numpy()], numbers

    return call


def _autocast(dtype: str) -> contextlib.AbstractContextManager:
    import torch

    if dtype == "float32":
        return contextlib.nullcontext()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, getattr(torch, dtype))


def set_threads(count: int) -> None:
    """Let PyTorch compute with so many threads; 0 leaves it its own choice.

    That is a thread for each physical core, where XLA has one for each that the
    process may use, two of which may share one.
    """
    import torch

    if count:
        torch.set_num_threads(count)


def count_threads() -> int:
    """Return the number of threads that PyTorch computes with."""
    import torch

    return torch.get_num_threads()


def check_dtype(dtype: str) -> str:
    """Return what to know of a precision before it is measured, "" for nothing.

    Raises: UserError where this PyTorch goes on in float32.
    """
    import torch

    if torch.cuda.is_available():
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is switched off, said here
        with _autocast(dtype):
            product = torch.ones(1, 1) @ torch.ones(1, 1)
    if product.dtype != getattr(torch, dtype):
        raise UserError(
            f"--peer torch: PyTorch {torch.__version__} computes no {dtype} on a CPU"
        )
    if dtype == "float16" and not _has_float16():
        return (
            "PyTorch has no vector instructions for float16 on this CPU (no "
            "avx512_fp16): its products take tens of times as long as in float32"
        )
    return ""


def _has_float16() -> bool:
    """Return whether the CPU computes float16; True where nothing tells."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
    x86 = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return x86 is None or "avx512_fp16" in x86[1].split()


def wait(outputs: Sequence[object]) -> None:
    """Wait for a GPU, for all that it was given; a CPU has finished when it returns."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def free() -> None:
    """Give a GPU's memory that PyTorch keeps for later back, for JAX to have."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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
