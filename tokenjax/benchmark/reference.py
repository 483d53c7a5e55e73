"""The machine's own speed: plain programs, timed beside what is to be compared.

product   one float32 product of 1024 x 1024: what all cores do at once
chain     products of 64 x 64, each of the one before: what it takes to start one
          small operation after another, which a busy machine slows down the most
queued    the product again, many in a queue, where calls of models are queued too: the
          device's own speed
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from tokenjax.benchmark import latency, queueing

PRODUCT, CHAIN = "product", "chain"
QUEUED = "queued"
LINKS = 64
TIMING = latency.Timing(warmup=1, repeats=50, max_seconds=0.15)


def milliseconds(name: str) -> float:
    """Return the median milliseconds of one of the programs, at this moment."""
    function, matrix = _compiled(name)
    return 1e3 * float(np.median(latency.time_calls(function, [(matrix,)], TIMING)))


def all_milliseconds() -> dict[str, float]:
    """Return those of each program, and on accelerators of the queued."""
    found = {name: milliseconds(name) for name in _PROGRAMS}
    function, matrix = _compiled(PRODUCT)
    queued = queueing.time_queued(function, [(matrix,)], TIMING, 1e-3 * found[PRODUCT])
    if queued:
        found[QUEUED] = 1e3 * float(np.median(queued.seconds))
    return found


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
