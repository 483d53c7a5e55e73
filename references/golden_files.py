"""Where the recording scripts write: the peers' golden cases of the test suite."""

import pathlib

PEERS = pathlib.Path(__file__).parents[1] / "tests" / "golden" / "peers"
