"""Files of the indices of examples: text, a number a line, or a numpy array (.npy).

In text what follows a "#" is a remark. The original CIFAR-ViT's list,
data/imbalanced_indices.npy, is one of the other kind.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tokenjax import storage
from tokenjax.errors import DatasetError, first_line, shown

LARGEST = 2**30  # bytes of a file


def read_indices(path: Path) -> np.ndarray:
    """Read indices, (n,) int64.

    Raises: DatasetError for a file that is not there or holds other things.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        else:
            lines = path.read_text(encoding="utf-8").splitlines()
            words = [line.partition("#")[0].strip() for line in lines]
            found = np.array([int(word) for word in words if word], np.int64)
    except (OSError, EOFError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{shown(path)} is no list of indices (text with a number a line, or a "
            f"numpy array of them as .npy): {first_line(error)}"
        ) from error
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise DatasetError(
            f"{shown(path)} is no list of indices: {found.dtype} {found.shape}"
        )
    return found.astype(np.int64)


def write_indices(path: Path, indices: np.ndarray, remarks: Sequence[str]) -> None:
    """Write indices (n,) as text below some remarks, whole or not at all."""
    lines = [f"# {remark}" for remark in remarks] + [str(int(i)) for i in indices]
    storage.write_text(path, "\n".join(lines) + "\n")
