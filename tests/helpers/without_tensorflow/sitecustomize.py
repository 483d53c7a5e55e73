"""Python runs this at its start if the folder is on its path: no TensorFlow, say.

Importing TensorFlow takes a run of the entry points some four seconds, for the sake of
TensorBoard's file alone.
"""

import os
import sys

HIDDEN = os.environ.get("HIDDEN_PACKAGES", "tensorflow tensorflow_datasets").split()


class Hide:
    """An import finder that does not see some packages."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            return None
        return self.finder.find_spec(name, path, target)


sys.meta_path[:] = [Hide(finder) for finder in sys.meta_path]
