"""The machine's own speed: plain programs, timed beside what is to be compared.

product   one float32 product of 1024 x 1024: what all cores do at once
chain     products of 64 x 64, each of the one before: what it takes to start one
          small operation after another, which a busy machine slows down the most
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.benchmark import latency

PRODUCT, CHAIN = "product", "chain"
LINKS = 64
TIMING = latency.Timing(warmup=1, repeats=50, max_seconds=0.15)


def milliseconds(name: str) -> float:
    """Return the median milliseconds of one of the programs, at this moment."""
    function, matrix = _compiled(name)
    return 1e3 * float(np.median(latency.time_calls(function, [(matrix,)], TIMING)))


def all_milliseconds() -> dict[str, float]:
    """Return those of each program."""
    return {name: milliseconds(name) for name in _PROGRAMS}


def _product(matrix: jax.Array) -> jax.Array:
    return matrix @ matrix


def _chain(matrix: jax.Array) -> jax.Array:
    found = matrix
    for _ in range(LINKS):
        found = jnp.tanh(found @ matrix)
    return found


_PROGRAMS: dict[str, tuple[Callable[[jax.Array], jax.Array], int]] = {
    PRODUCT: (_product, 1024),
    CHAIN: (_chain, 64),
}


@functools.cache
def _compiled(name: str) -> tuple[jax.stages.Compiled, jax.Array]:
    """Return a program, compiled once in a process, and what it takes."""
    function, side = _PROGRAMS[name]
    matrix = jnp.full((side, side), 1 / side, jnp.float32)
    compiled, _ = latency.compile_function(function, [matrix])
    return compiled, matrix
