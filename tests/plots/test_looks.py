"""The table of figures by what a model reports: one entry is a figure."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tokenjax import plots
from tokenjax.errors import UserError
from tokenjax.plots import looks
from tokenjax.registry import Registry

IMAGES = np.zeros((3, 8, 8, 3), np.uint8)


@pytest.fixture
def table(monkeypatch):
    """A table of its own, with what ours has."""
    copy = Registry("figure")
    for name, figure in looks._FIGURES.items():
        copy.add(name, figure)
    monkeypatch.setattr(looks, "_FIGURES", copy)
    return copy


def draw(images, looks, directory):
    path = directory / "mine.txt"
    path.write_text(f"{len(images)} {looks['my_map'].shape}")
    return [path]


def test_a_figure_of_ones_own_is_kept_and_drawn(table, tmp_path):
    plots.register_figure(
        "mine",
        draw,
        {"my_map": plots.Look(axis=1, averaged=True)},
        {"my_number": plots.Look(read=lambda aux: aux["inner"]["number"])},
    )
    my_map = np.arange(6.0).reshape(2, 3)  # (depth, n)
    aux = {"my_map": jnp.asarray(my_map), "inner": {"number": 7}, "other": 1}
    found = jax.jit(lambda aux: plots.collect(aux, 3))(aux)
    assert set(found) == {"my_map", "my_number"}
    np.testing.assert_array_equal(found["my_number"], [7, 7, 7])
    assert plots.image_axis("my_map") == 1
    assert plots.average_blocks({"my_map": my_map}) == {"my_map": [1, 4]}
    (path,) = plots.draw_looks(IMAGES, {"my_map": my_map}, tmp_path)
    assert path.read_text() == "3 (2, 3)"
    assert plots.draw_looks(IMAGES, {"other": my_map}, tmp_path) == []


def test_what_ours_keep():
    depth, count, patches = 2, 3, 16
    attention = jnp.ones((count, 4, 17, 17))
    aux = {
        "alpha": jnp.ones((depth, count)),
        "effective_keys": None,  # as where the switch for it is off
        "attention": (attention,) * depth,
        "keep_masks": jnp.ones((depth, count, patches)),
        "attention_scores": jnp.ones((count, patches)),
        "threshold": jnp.asarray(0.25),
        "losses": {},
    }
    found = plots.collect(aux, count)
    assert set(found) == {
        *("alpha", "num_keys", "keep_masks", "attention_scores", "threshold"),
        "received_attention",
    }
    assert found["num_keys"].tolist() == [17] * count
    assert found["threshold"].tolist() == [0.25] * count
    np.testing.assert_allclose(found["received_attention"], 1 / 17)
    assert {key: found[key].shape[plots.image_axis(key)] for key in found} == (
        dict.fromkeys(found, count)
    )
    assert plots.average_blocks(found) == {"alpha": [1, 1]}


def test_a_class_token_speaks_for_all_of_a_network_that_has_one():
    aux = {
        "attention": (jnp.ones((3, 4, 17, 17)),),
        "class_attention": jnp.ones((1, 3, 16)),
    }
    assert set(plots.collect(aux, 3)) == {"class_attention", "num_keys"}


def test_rows_of_ones_own(table):
    """Drawn below the images, for a model that reports what they need."""

    def rows(images, looks):
        return [plots.Row("mine", np.full((len(images), 4, 4, 3), 7, np.uint8))]

    assert not plots.has_rows({"my_map"})
    plots.register_figure("mine", draw, {"my_map": plots.Look()}, rows=rows)
    assert plots.has_rows({"my_map", "other"})
    assert not plots.has_rows({"other"})
    first, second = plots.draw_rows(IMAGES, {"my_map": np.zeros(3)})
    assert (first.label, second.label) == ("image", "mine")
    assert (second.pictures == 7).all()
    assert len(plots.draw_rows(IMAGES, {})) == 1


def test_a_file_that_is_run_again_replaces_its_figure(table):
    for _ in range(2):

        def again(images, looks, directory):
            return []

        plots.register_figure("mine", again, {"my_map": plots.Look()})
    assert table["mine"].draw is again


def test_what_is_refused(table):
    with pytest.raises(UserError, match="needs a key of aux"):
        plots.register_figure("mine", draw, {})
    with pytest.raises(UserError, match="there is a figure 'routing' already"):
        plots.register_figure("routing", draw, {"my_map": plots.Look()})
    with pytest.raises(UserError, match=r"figure 'mine': 'alpha' is kept as .*axis=1"):
        plots.register_figure("mine", draw, {"alpha": plots.Look(axis=0)})
    assert "mine" not in table


def test_matplotlib_waits_for_what_draws():
    """The table is there without; every name of the package still leads to it."""
    code = (
        "import sys; from tokenjax import plots; plots.image_axis('alpha'); "
        "assert 'matplotlib' not in sys.modules; plots.accuracy_bars; "
        "assert 'matplotlib' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    for name in plots.__all__:
        assert callable(getattr(plots, name)), name
    with pytest.raises(AttributeError, match="'accuracy_bar'"):
        plots.accuracy_bar  # noqa: B018
