"""What jax tells those who listen (`jax.monitoring`), and what we tell them there.

Of tracing, lowering and compiling a program jax tells the beginning as a scalar, the
moment itself, and the end as a time span; both with `fun_name`, the program's. Reading
a program from the compilation cache is a part of compiling it. What is said of one
program comes in the thread that asked for it.
"""

import contextlib
from collections.abc import Iterator
from typing import Protocol

TRACE = "/jax/core/compile/jaxpr_trace_duration"
LOWER = "/jax/core/compile/jaxpr_to_mlir_module_duration"
COMPILE = "/jax/core/compile/backend_compile_duration"
# Seconds that the cache spared: of compiling, less those of reading.
SAVED = "/jax/compilation_cache/compile_time_saved_sec"
READ = "/jax/compilation_cache/cache_retrieval_time_sec"
# Ours: a row of the benchmark, or training's first step, is there.
RESULT = "/tokenjax/result"


class Begin(Protocol):
    """Takes what begins, and when; `fun_name` is among the details."""

    def __call__(
        self, event: str, value: float | int, **details: str | int
    ) -> None: ...


class End(Protocol):
    """Takes what has ended, with both moments."""

    def __call__(
        self, event: str, start_time: float, end_time: float, **details: str | int
    ) -> None: ...


def program_name(fun_name: str) -> str:
    """Return "step" of what jax calls jit(step) or jit_step."""
    bare = fun_name.removeprefix("jit_")
    if bare.startswith("jit(") and bare.endswith(")"):
        bare = bare[len("jit(") : -1]
    return bare


@contextlib.contextmanager
def listening(begin: Begin, end: End) -> Iterator[None]:
    """Call `begin` and `end` for every event that has both."""
    import jax.monitoring

    jax.monitoring.register_scalar_listener(begin)
    jax.monitoring.register_event_time_span_listener(end)
    try:
        yield
    finally:
        jax.monitoring.unregister_scalar_listener(begin)
        jax.monitoring.unregister_event_time_span_listener(end)


def tell_result() -> None:
    """Tell that there is a result; `tokenjax starting` measures up to the first."""
    import jax.monitoring

    jax.monitoring.record_event(RESULT)
