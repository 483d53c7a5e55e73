"""What every test needs: a compilation cache shared by the processes, golden cases."""

import json
import os
import pathlib

# Before jax starts. Numbers are held to recorded ones: never a faster, coarser product.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
# What runs once need not be compiled well: a compilation takes a tenth of its time
# so. `make test-all` sets the variable, for one pass as users' programs are compiled.
if not os.environ.get("TOKENJAX_TEST_OPTIMISED"):
    os.environ["XLA_FLAGS"] = (
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
        "--xla_cpu_use_fusion_emitters=false " + os.environ.get("XLA_FLAGS", "")
    )

import jax
import numpy as np
import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]
GOLDEN = pathlib.Path(__file__).parent / "golden"
CACHE = REPOSITORY / ".cache" / "jax"

jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


def pytest_collection_modifyitems(items):
    for item in items:
        if "golden" in item.fixturenames:
            item.add_marker("golden")


class GoldenCase:
    """One recorded case; see golden/README.md for what its keys mean."""

    def __init__(self, path: pathlib.Path):
        with np.load(path, allow_pickle=False) as file:
            self.arrays = {key: file[key] for key in file.files}
        self.meta = json.loads(str(self.arrays.pop("meta")))

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays below a prefix ("state", "grad", ...), the prefix taken off."""
        start = prefix + "/"
        return {
            k[len(start) :]: v for k, v in self.arrays.items() if k.startswith(start)
        }


@pytest.fixture(scope="session")
def golden():
    """golden("vdpa/model") -> GoldenCase."""
    return lambda name: GoldenCase(GOLDEN / f"{name}.npz")


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
