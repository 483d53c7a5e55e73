"""Every field of the settings, of every model and of every source can be set."""

import pytest
from absl import flags
from helpers.entry_points import run_in_process
from helpers.other_values import find_other_value
from ml_collections import config_flags

from tokenjax import command_line, configuration, data, models
from tokenjax.arguments import describe
from tokenjax.training.settings import Settings, list_arguments

FILE = """
from tokenjax.training import default_config

def get_config():
    return default_config()
"""


@pytest.fixture
def parse(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)

    def parse(settings):
        pairs = [f"--config.{key}={value}" for key, value in settings.items()]
        argv = ["train.py", f"--config={path}", *pairs]
        values = flags.FlagValues()
        config_flags.DEFINE_config_file("config", None, "", values, sys_argv=argv)
        command_line.parse(values, argv)
        return values["config"].value

    return parse


def find(config, key):
    for part in key.split("."):
        config = config[part]
    return config


def check(parse, chosen, settings):
    config = parse(chosen | settings)
    assert {key: find(config, key) for key in settings} == settings
    assert all(find(config, key) == value for key, value in chosen.items())


def test_every_setting(parse):
    settings = {
        key: find_other_value(argument)
        for key, argument in list_arguments(Settings).items()
        if key not in ("model", "data", "ablation", "compare")
    }
    assert len(settings) > 80
    check(parse, {}, settings)


@pytest.mark.parametrize("name", models.names())
def test_every_argument_of_every_model(parse, name):
    settings = {
        f"model.{argument.name}": find_other_value(argument)
        for argument in models.arguments(name).values()
    }
    check(parse, {"model.name": name}, settings)


@pytest.mark.parametrize("name", data.names())
def test_every_argument_of_every_source(parse, name):
    settings = {
        f"data.{argument.name}": find_other_value(argument)
        for argument in data.arguments(name).values()
    }
    check(parse, {"data.source": name}, settings)


def test_what_is_not_set_has_its_default(parse):
    config = parse({"model.name": "vit", "data.source": "image_folder"})
    defaults = models.arguments("vit")
    assert config.model.depth == defaults["depth"].default
    assert config.model.img_size is None  # from the data
    assert config.data.directory is None  # must be given
    assert config.data.num_threads == 0
    assert set(config.model) == {"name", *defaults}


def test_another_model_keeps_what_both_take(parse, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        FILE.replace("return default_config()", "c = default_config()")
        + "    c.model.update(name='vdpa', stk='soft_topk', embed_dim=96)\n"
        + "    return c\n"
    )
    config = parse({"model.name": "vit"})
    assert config.model.embed_dim == 96
    assert "stk" not in config.model
    assert "attn_dropout" in config.model
    assert parse({}).model.stk == "soft_topk"


def test_every_setting_says_what_it_means():
    rows = configuration.list_settings()
    assert [row.key for row in rows if not row.meaning] == []
    sources = [data.arguments(name) for name in data.names()]
    for known in [*sources, list_arguments(Settings)]:
        undescribed = [
            argument.name
            for argument in known.values()
            if not argument.meaning and not argument.is_section
        ]
        assert undescribed == []


def test_every_default_fits_itself():
    for key, argument in list_arguments(Settings).items():
        assert argument.check(argument.default, key) == argument.default
    assert describe(Settings)["optimizer"].is_section


def test_the_command_lists_them(tmp_path):
    finished = run_in_process("settings")
    assert finished.returncode == 0
    listed = [line.split()[0] for line in finished.stdout.splitlines()[2:]]
    assert listed == [row.key for row in configuration.list_settings()]
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    changed = run_in_process(
        "settings", f"--config={path}", "--config.data.cache_bytes=7", "--changed"
    )
    assert changed.returncode == 2
    assert "no configuration key 'data.cache_bytes'" in changed.stderr
    changed = run_in_process(
        *("settings", f"--config={path}", "--config.data.source=image_folder"),
        *("--config.data.cache_bytes=7", "--changed"),
    )
    assert "data.cache_bytes" in changed.stdout
    assert len(changed.stdout.splitlines()) == 4  # a heading, a rule, the source
    assert run_in_process("settings", "--match=nothing_of_this").returncode == 2
