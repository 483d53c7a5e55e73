"""The PyTorch equivalents of models, with the same weights: timm's, and our references.

Nothing of the library needs them: PyTorch and timm are optional, and the references of
our own systems live under `tests/`, so a checkout of the repository is needed.

float32 products on a GPU run as TF32, as JAX runs them by default; bfloat16 is
autocast, PyTorch's automatic mixed precision.
"""

import contextlib
import importlib
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from tokenjax import convert
from tokenjax.benchmark import program
from tokenjax.errors import UserError

TIMM = {  # name here -> name there
    "resnet50": "resnet50",
    "vit_base_patch16": "vit_base_patch16_224",
    "vit_small_patch16": "vit_small_patch16_224",
    "vit_tiny_patch16": "vit_tiny_patch16_224",
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "swin_base": "swin_base_patch4_window7_224",
    "convnextv2_tiny": "convnextv2_tiny",
    "maxvit_tiny": "maxvit_tiny_tf_224",
}
SIZED = ("vit_", "swin_", "maxvit_")  # built for one image size
REFERENCES = {  # our class -> module of references/ which has the same class
    "VDPA": "pytorch_vdpa",
    "VisionTransformer": "pytorch_vit",
    "DynamicViT": "pytorch_vit",
    "DeMo": "pytorch_demo",
    "AttentionRouting": "pytorch_routing",
}


class Peer(NamedTuple):
    """A PyTorch module, and how it is called.

    Attributes:
      module: with the weights of ours, on its device.
      source: what it is, with versions.
      convert: our example inputs -> its arguments.
    """

    module: Any
    source: str
    convert: Callable[[Sequence[Any]], tuple[Any, ...]]


def check(name: str, model: nn.Module) -> None:
    """Raises: UserError, for a model without an equivalent or without PyTorch here."""
    if importlib.util.find_spec("torch") is None:
        raise UserError("--peer torch needs PyTorch: pip install torch timm")
    if name in TIMM:
        if importlib.util.find_spec("timm") is None:
            raise UserError(f"--peer torch: {name} is timm's; pip install timm")
        return
    module = REFERENCES.get(type(model).__name__)
    if module is None:
        known = ", ".join(sorted([*TIMM, *REFERENCES]))
        raise UserError(
            f"--peer torch: {name} has no PyTorch equivalent here; there are {known}"
        )
    _find_references()


def build(name: str, model: nn.Module, variables: Mapping[str, Any]) -> Peer:
    """The equivalent of a model that passed `check`, with its weights."""
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name in TIMM:
        module, source = _from_timm(name, model)
    else:
        file = REFERENCES[type(model).__name__]
        reference = _reference(file)
        module = getattr(reference, type(model).__name__)(model)
        source = f"references/{file}.py, torch {torch.__version__}"
    module.load_state_dict(_state(name, model, variables))
    return Peer(module.to(device), source, _converter(device))


def _from_timm(name: str, model: Any) -> tuple[Any, str]:
    if importlib.util.find_spec("torchvision") is None:
        _stand_in_for_torchvision()
    import timm
    import torch

    arguments = {"num_classes": model.num_classes}
    if name.startswith(SIZED):
        arguments["img_size"] = model.img_size
    module = timm.create_model(TIMM[name], **arguments)
    return module, f"timm {timm.__version__} {TIMM[name]}, torch {torch.__version__}"


def _state(name: str, model: nn.Module, variables: Mapping[str, Any]) -> Any:
    """Our weights by PyTorch's keys; routing has no published ones, but its own."""
    import torch

    variables = jax.device_get(variables)
    if name not in TIMM:
        reference = _reference(REFERENCES[type(model).__name__])
        if hasattr(reference, "state_from_flax"):
            return reference.state_from_flax(model, variables)
    state = convert.to_torch(model, variables)
    return {key: torch.tensor(np.asarray(array)) for key, array in state.items()}


def _reference(name: str) -> types.ModuleType:
    """Import a program of `references`."""
    _find_references()
    return importlib.import_module(f"references.{name}")


def _find_references() -> None:
    """Raises: UserError where there are none: a checkout has them, a wheel has not."""
    if importlib.util.find_spec("references") is None:
        raise UserError(
            "--peer torch holds our own models to the PyTorch programs in references/, "
            "which only a checkout has: run `python bench.py` there"
        )


def _converter(device: Any) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """(b, h, w, c) -> (b, c, h, w) of every image; integers as int64."""
    import torch

    def one(array: Any) -> Any:
        array = np.asarray(array)
        if array.ndim == 4:
            array = array.transpose(0, 3, 1, 2)
        integers = np.issubdtype(array.dtype, np.integer)
        tensor = torch.from_numpy(np.array(array, order="C"))
        return tensor.to(device, torch.int64 if integers else torch.float32)

    return lambda example: tuple(jax.tree.map(one, tuple(example)))


def inference(peer: Peer, dtype: str, compiled: bool) -> Callable[..., Any]:
    """One call of the module in inference, to its end."""
    import torch

    module = torch.compile(peer.module.eval()) if compiled else peer.module.eval()

    def call(*arguments: Any) -> Any:
        with torch.inference_mode(), _autocast(dtype):
            output = _first(module(*arguments))
        _finish()
        return output

    return call


def training(peer: Peer, dtype: str, compiled: bool) -> Callable[..., Any]:
    """One step: forward, mean cross entropy of every score, backward, AdamW."""
    import torch

    peer.module.train()
    module = torch.compile(peer.module) if compiled else peer.module
    optimizer = torch.optim.AdamW(
        peer.module.parameters(),
        lr=program.LEARNING_RATE,
        weight_decay=program.WEIGHT_DECAY,
    )

    def call(*arguments: Any) -> Any:
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


def _autocast(dtype: str) -> Any:
    import torch

    if dtype == "float32":
        return contextlib.nullcontext()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, torch.bfloat16)


def _finish() -> None:
    """Waits for a GPU; a CPU has finished when it returns."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _first(outputs: Any) -> Any:
    """Logits, or the feature for retrieval: what `program.first_output` gives."""
    if isinstance(outputs, dict):
        return outputs["concat"]
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _scores(outputs: Any) -> list[Any]:
    """All that have a loss; DeMo gives (scores, feature) by the names of its heads."""
    if isinstance(outputs, dict):
        return [scores for scores, _ in outputs.values()]
    return [_first(outputs)]


def _stand_in_for_torchvision() -> None:
    """timm asks torchvision for names in its data transforms, which no model needs."""

    class Anything:
        NEAREST, NEAREST_EXACT, BILINEAR, BICUBIC, BOX, HAMMING, LANCZOS = range(7)

        def __init__(self, *arguments: Any, **more: Any):
            pass

    class StandIn(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return Anything

    parts = ["transforms", "transforms.functional", "datasets", "datasets.utils"]
    parts += ["models", "models.feature_extraction", "ops", "ops.misc", "utils", "io"]
    for name in ["", *(f".{part}" for part in parts)]:
        full = f"torchvision{name}"
        module = StandIn(full)
        module.__spec__ = importlib.machinery.ModuleSpec(full, None, is_package=True)
        module.__path__ = []
        sys.modules[full] = module
        parent, _, child = full.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
