"""The cases that are computed again, most important first; and one of them at a time.

Of each system what its whole model computes leads, then its parts and variants.
"""

import pathlib
from collections.abc import Callable, Mapping

from tokenjax.device_check.parity import classifiers, modalities, routing
from tokenjax.device_check.parity.held import Held
from tokenjax.device_check.parity.recorded import RecordedCase

Hold = Callable[[RecordedCase, Held], None]
ROUTING = "routing/reference"  # computed by PyTorch, not recorded


def _cifar(name: str, **more: object) -> Hold:
    def hold(case: RecordedCase, held: Held) -> None:
        classifiers.cifar(case, held, name, **more)

    return hold


def _dynamic(pruning: str) -> Hold:
    return _cifar("dynamic_vit", pruning=pruning, predictor="linear")


def _peer(name: str) -> Hold:
    def hold(case: RecordedCase, held: Held) -> None:
        classifiers.peer(case, held, name)

    return hold


def _reduced(name: str, *keys: str) -> Hold:
    def hold(case: RecordedCase, held: Held) -> None:
        classifiers.reduced(case, held, name, *keys)

    return hold


CASES: Mapping[str, Hold] = {
    "vdpa/model": classifiers.vdpa,
    "cifar_vit/vit": _cifar("vit"),
    "cifar_vit/dynamic_vit_pruned": _dynamic("inference"),
    "demo/demo_sdtps_train": modalities.demo_training,
    "sdtps/multimodal_gumbel": modalities.sdtps,
    "cifar_vit/lightweight_vit": _cifar("lightweight_vit"),
    "demo/demo_hdm_atm_train": modalities.demo_training,
    "peers/imagenet_vit": _peer("vit_base_patch16"),
    "reduction/tome_vit": _reduced("tome", "r", "prop_attn"),
    "reduction/evit_vit": _reduced("evit", "keep_rate", "fuse_token"),
    "reduction/topk_vit": _reduced("topk", "keep_rate", "reduction_loc"),
    "peers/resnet": _peer("resnet50"),
    "peers/swin": _peer("swin_tiny"),
    "peers/convnext_v2": _peer("convnextv2_tiny"),
    "peers/maxvit": _peer("maxvit_tiny"),
    "peers/vmamba": _peer("vmamba_tiny"),
    "sdtps/multimodal": modalities.sdtps,
    "vdpa/train_adamw": classifiers.vdpa_training,
    "vdpa/alp": classifiers.local_pooling,
    "reduction/ats_vit": _reduced("ats", "keep_rate", "reduction_loc"),
    "reduction/pitome_vit": _reduced("pitome", "ratio"),
    "reduction/tofu_vit": _reduced("tofu", "ratio"),
    "demo/demo_sdtps_eval": modalities.demo_inference,
    "cifar_vit/dynamic_vit_full": _dynamic("none"),
}
TINY = ("vdpa/alp", "cifar_vit/vit")
FOURTH = 3  # where the fourth system's case comes: it needs more than a recording


def names() -> list[str]:
    """Return the names of all cases, in their order."""
    recorded = list(CASES)
    return [*recorded[:FOURTH], ROUTING, *recorded[FOURTH:]]


def hold(name: str, folder: pathlib.Path) -> Held:
    """Compute a case again, from the recordings in a folder.

    Raises: Skipped where it cannot be computed here.
    """
    held = Held()
    if name == ROUTING:
        routing.hold(held)
    else:
        CASES[name](RecordedCase(folder / f"{name}.npz"), held)
    return held
