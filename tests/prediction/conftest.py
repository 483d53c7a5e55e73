"""One small trained run, which what is tested here loads."""

import pytest
from helpers.training_runs import train_small


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """A ViT of one block on the digits, 24 steps; as good as its name's start."""
    directory = tmp_path_factory.mktemp("run") / "digits"
    finished = train_small(directory, config="configs/vit.py")
    assert finished.returncode == 0, finished.stderr
    return directory
