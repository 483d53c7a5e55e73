"""Where configuration files are found, and what they may import."""

import sys

import pytest

from tokenjax import config_files
from tokenjax.errors import UserError

CONFIG = """
import {module}
from tokenjax.training import default_config

def get_config(variant="default"):
    config = default_config()
    config.seed = {module}.SEED
    return config
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder without configs/; modules imported from it are dropped."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in str(getattr(module, "__file__", None)):
            del sys.modules[name]


@pytest.mark.parametrize("name", ["vdpa", "configs/vdpa.py"])
def test_ours_are_found_anywhere(name):
    assert config_files.load_config(name).model.name == "vdpa"
    assert config_files.load_config(f"{name}:paper").model.depth == 10
    with pytest.raises(UserError, match=f"--config: {name}: .*papr"):
        config_files.load_config(f"{name}:papr")


def test_all_of_ours_import_what_lies_beside_them():
    for name in ("linear_vit", "imbalanced:cifar10"):
        assert "vit" in config_files.load_config(name).model.name


def test_the_originals_own_file_of_sdtps_with_its_noise_and_without():
    found = [
        config_files.load_config(f"sdtps:rgbnt201_{name}")
        for name in ("recorded", "no_gumbel")
    ]
    for config in found:
        batch = config.batch_size, config.reid.instances, config.schedule.warmup_epochs
        assert batch == (8, 4, 3)
        assert config.model.mask_aggregation == config.reid.warmup_start == "recorded"
    assert [config.model.sdtps_use_gumbel for config in found] == [True, False]


@pytest.mark.parametrize(
    "name",
    ["nothing", "configs/nothing.py", "configs/vdpa", "mine/vdpa.py", "vdpa.txt"],
)
def test_what_is_none_of_ours(name):
    with pytest.raises(UserError, match="--config: no file"):
        config_files.load_config(name)


def test_a_users_own_comes_first(elsewhere):
    (elsewhere / "configs").mkdir()
    mine = CONFIG.format(module="sys").replace("sys.SEED", "5")
    (elsewhere / "configs" / "vdpa.py").write_text(mine)
    assert config_files.load_config("configs/vdpa.py").seed == 5
    assert config_files.load_config("vdpa").model.name == "vdpa"  # ours


def test_a_module_beside_the_file(elsewhere):
    folder = elsewhere / "deep" / "folder"
    folder.mkdir(parents=True)
    (folder / "seed_beside.py").write_text("SEED = 5\n")
    (folder / "mine.py").write_text(CONFIG.format(module="seed_beside"))
    path = list(sys.path)
    assert config_files.load_config("deep/folder/mine.py").seed == 5
    assert sys.path == path


def test_a_relative_import_is_of_the_files_own_folder_and_read_anew(elsewhere):
    content = CONFIG.format(module="beside").replace("import beside", "from . import")
    content = content.replace("from . import\n", "from . import beside\n")
    for folder, seed in (("a", 1), ("b", 2), ("a", 3)):
        (elsewhere / folder).mkdir(exist_ok=True)
        (elsewhere / folder / "beside.py").write_text(f"SEED = {seed}\n" + "#" * seed)
        (elsewhere / folder / "mine.py").write_text(content)
        assert config_files.load_config(f"{folder}/mine.py").seed == seed


def test_what_is_wrong_in_an_imported_module_names_the_files_line(elsewhere):
    (elsewhere / "faulty_beside.py").write_text("x = 1\nx.nothing\n")
    (elsewhere / "mine.py").write_text(CONFIG.format(module="faulty_beside"))
    with pytest.raises(UserError, match=r"mine\.py: AttributeError: .* \(line 2\)"):
        config_files.load_config("mine.py")
