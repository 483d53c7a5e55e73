"""Where the figures of these tests go."""

import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "figures" / "figure.png"
