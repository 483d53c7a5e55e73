"""Vision models in JAX/Flax that spend compute where the image needs it.

The parts, from the ground up: `ops` (pure functions), `data`, `evaluation` and
`plots`; `models` and `training`; `convert` and `benchmark`. Importing this package
imports none of them, and never TensorFlow.
"""

__version__ = "0.3.0"
