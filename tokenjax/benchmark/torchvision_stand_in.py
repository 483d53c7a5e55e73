"""A torchvision of nothing, for timm where there is none, or one of another torch."""

import importlib
import importlib.machinery
import sys
import types


def install_if_needed() -> None:
    """Make torchvision importable; one that was built for another torch is not."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError):
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # what it left half imported
        install()


def install() -> None:
    """Make torchvision importable: timm asks it for names that no model needs."""

    class Anything:
        NEAREST, NEAREST_EXACT, BILINEAR, BICUBIC, BOX, HAMMING, LANCZOS = range(7)

        def __init__(self, *arguments: object, **more: object):
            pass

    class StandIn(types.ModuleType):
        def __getattr__(self, name: str) -> type[Anything]:
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
