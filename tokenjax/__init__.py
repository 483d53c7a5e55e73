"""Vision models in JAX/Flax that spend compute where the image needs it.

    tokenjax.load("runs/mine").predict("photo.jpg").best

The parts, from the ground up: `ops` (pure functions), `data`, `evaluation` and
`plots`; `models` and `training`; `prediction`, `convert` and `benchmark`. Importing
this package imports none of them, and never TensorFlow.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenjax.prediction import load as load

__version__ = "0.6.0"


def __getattr__(name: str) -> Any:
    """Return `load`, which imports what it needs when it is asked for."""
    if name == "load":
        from tokenjax.prediction import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
