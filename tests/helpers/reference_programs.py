"""The PyTorch programs of `references` with recorded or converted weights in them.

Imports PyTorch: tests get here after pytest.importorskip("torch").
"""

import numpy as np
import torch

from references import pytorch_demo, pytorch_vdpa, pytorch_vit

GRADIENT_TOLERANCE = 1e-4
MODALITIES = ("rgb", "nir", "tir")
PROGRAMS = {
    "VDPA": pytorch_vdpa.VDPA,
    "VisionTransformer": pytorch_vit.VisionTransformer,
    "DynamicViT": pytorch_vit.DynamicViT,
    "DeMo": pytorch_demo.DeMo,
}


def tensor(array):
    return torch.from_numpy(np.array(array))


def loaded(program, state):
    program.load_state_dict({key: tensor(array) for key, array in state.items()})
    return program.eval()  # loaded strictly: nothing missing, nothing left over


def program_of(model):
    return PROGRAMS[type(model).__name__](model)


def inputs_of(case, *names):
    return [tensor(case[f"input/{name}"]).requires_grad_() for name in names]


def by_modality(case, what):
    if f"input/{what}rgb" not in case.arrays:
        return None
    return {name: tensor(case[f"input/{what}{name}"]) for name in MODALITIES}


def check_gradients(case, program, assert_close):
    """Of all parameters; those that vanish in exact arithmetic are left out."""
    expected, found = case.group("grad"), dict(program.named_parameters())
    trained = {key for key, leaf in found.items() if leaf.grad is not None}
    assert trained == set(expected)
    for key, gradient in expected.items():
        actual = found[key].grad
        if key.endswith("in_proj_bias"):  # the keys' third cancels in the softmax
            query, _, value = np.split(gradient, 3)
            gradient = np.concatenate([query, value])
            actual = torch.cat([actual.chunk(3)[0], actual.chunk(3)[2]])
        if f"grad/{key}" not in case.meta.get("gradients_zero_in_exact_arithmetic", []):
            assert_close(actual, gradient, GRADIENT_TOLERANCE, key)
