"""A recorded case; tests/golden/README.md says what its keys mean."""

import json
import os
from typing import Any

import numpy as np


class RecordedCase:
    """The arrays of one case, and what its `meta` says."""

    def __init__(self, path: str | os.PathLike[str]):
        with np.load(path, allow_pickle=False) as file:
            self.arrays = {key: file[key] for key in file.files}
        self.meta: dict[str, Any] = json.loads(str(self.arrays.pop("meta")))

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """Return the arrays below a prefix ("state", "grad"), the prefix taken off."""
        start = prefix + "/"
        return {
            key[len(start) :]: value
            for key, value in self.arrays.items()
            if key.startswith(start)
        }
