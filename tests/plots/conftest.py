"""Where the figures of these tests go, and what was drawn."""

import pytest

from tokenjax.plots import figure_files


@pytest.fixture
def path(tmp_path):
    return tmp_path / "figures" / "figure.png"


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved, to be asked what they show."""
    kept, save = [], figure_files.save

    def keep(figure, path, **options):
        kept.append(figure)
        return save(figure, path, **options)

    monkeypatch.setattr(figure_files, "save", keep)
    return kept
