"""What every test needs: a compilation cache shared by the processes, golden cases."""

import importlib.metadata
import os
import pathlib

# Before jax starts. Numbers are held to recorded ones: never a faster, coarser product.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
# What runs once need not be compiled well: a compilation takes a tenth of its time
# so. `make test-all` sets the variable, for one pass as users' programs are compiled.
if not os.environ.get("TOKENJAX_TEST_OPTIMISED"):
    quick = (
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
    # A flag that XLA does not know ends the process.
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        quick += " --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = f"{quick} {os.environ.get('XLA_FLAGS', '')}"

import jax
import numpy as np
import pytest

from tokenjax.device_check.parity.recorded import RecordedCase

REPOSITORY = pathlib.Path(__file__).parents[1]
GOLDEN = pathlib.Path(__file__).parent / "golden"
CACHE = REPOSITORY / ".cache" / "jax"

jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


def pytest_collection_modifyitems(items):
    for item in items:
        if "golden" in item.fixturenames:
            item.add_marker("golden")


@pytest.fixture(scope="session")
def golden():
    """golden("vdpa/model") -> RecordedCase."""
    return lambda name: RecordedCase(GOLDEN / f"{name}.npz")


@pytest.fixture(scope="session")
def assert_close():
    """Holds ||a - b|| / ||b|| to a tolerance."""

    def check(actual, expected, tolerance, name=""):
        actual, expected = np.asarray(actual, np.float64), np.asarray(expected)
        assert actual.shape == expected.shape, (name, actual.shape, expected.shape)
        error = np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30)
        assert error <= tolerance, (
            f"{name}: relative error {error:.2e} > {tolerance:.0e}"
        )

    return check
