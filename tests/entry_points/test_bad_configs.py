"""Configuration files with errors: one sentence that names the file and the line."""

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from tokenjax import command_line, data
from tokenjax.errors import UserError
from tokenjax.training.settings import LARGEST_COUNT, Settings

GOOD = """
from tokenjax.training import default_config

def get_config(variant="default"):
    config = default_config()
    return config
"""


def parse(*arguments):
    """What --config holds after a command line."""
    argv = ["train.py", *map(str, arguments)]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", values, sys_argv=argv)
    command_line.parse(values, argv)
    return values["config"].value


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "mine.py"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_good_one(write):
    config = parse(f"--config={write(GOOD)}", "--config.batch_size=3")
    assert config.batch_size == 3
    assert config.is_locked
    assert Settings.from_config(config).batch_size == 3


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("def get_config(:\n", "SyntaxError: invalid syntax (line 1)"),
        (
            "x = 1\n\nimport nowhere_at_all\n",
            "No module named 'nowhere_at_all' (line 3)",
        ),
        ("def get_config():\n    return 1 / 0\n", "ZeroDivisionError: division"),
        ("def get_config():\n    return {}['a']\n", "KeyError: 'a' (line 2)"),
        ("def get_config():\n    return print.a\n", "no attribute 'a' (line 2)"),
        ("def get_config():\n    open('gone')\n", "No such file or directory: 'gone'"),
        ("raise ValueError('one\\ntwo')\n", "ValueError: one (line 1)"),
        ("import sys\nsys.exit(0)\n", "SystemExit: 0 (line 2)"),
        ("def get_config():\n    return get_config()\n", "RecursionError: maximum"),
        ("x = 3\n", "it has no function get_config"),
        ("get_config = 3\n", "it has no function get_config"),
        ("", "it has no function get_config"),
        ("def get_config():\n    pass\n", "get_config returned NoneType, where an"),
        ("def get_config():\n    return {}\n", "get_config returned dict, where an"),
        (b"\x7fELF\x02\x01\x00\x00", "mine.py: "),
        (b"\xff\xfe\x00x", "mine.py: "),
    ],
)
def test_files_that_are_none(write, content, part):
    path = write(content)
    with pytest.raises(UserError) as error:
        parse(f"--config={path}", "--config.batch_size=3")
    assert str(error.value).startswith(f"--config: {path}: ")
    assert part in str(error.value)
    assert str(error.value).isprintable()


def test_names_that_are_no_files(write, tmp_path):
    for name, part in (
        (tmp_path, "holds no run and no converted checkpoint"),
        (tmp_path / "gone.py", "no file"),
        (tmp_path / "a\nb.py", r"no file .*a\\nb\.py"),
        ("", "no file"),
        (f"{write('def get_config(): pass')}:tiny", "get_config"),
    ):
        with pytest.raises(UserError, match=part):
            parse(f"--config={name}")


def test_a_file_that_has_changed_is_read_anew(write):
    """Python's own import would take what it compiled within the same second."""
    assert parse(f"--config={write(GOOD)}").batch_size == 64
    changed = GOOD.replace("return config", "config.seed=5;return config")
    assert parse(f"--config={write(changed)}").seed == 5
    assert parse(f"--config={write(changed.replace('5', '6'))}").seed == 6


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("optimizer.learning_rate=nan", "optimizer.learning_rate must be finite"),
        ("epochs=inf", "epochs must be finite, got inf"),
        ("seed=100000000000000000000", r"seed must be within 2\^53 of 0, got 1e\+20"),
        ("optimizer.lr=3", "no configuration key 'optimizer.lr'"),
        ("learning_rate=3", "did you mean 'optimizer.learning_rate'"),
        (
            "model.embed_dmi=3",
            r"'model.embed_dmi' \(model.name is 'vdpa'\), did you mean '.*embed_dim'",
        ),
        ("data.num_thread=3", "no configuration key 'data.num_thread'"),
        ("model.name=vdpq", "model.name: unknown model 'vdpq', did you mean 'vdpa'"),
        ("data.source=digit", "unknown data source 'digit', did you mean 'digits'"),
        ("batch_sise=3", "did you mean 'batch_size'"),
        ("optimizer=3", "config"),
        ("checkpoint.keep=two", "invalid literal for int"),
    ],
)
def test_flags_that_cannot_be(write, argument, part):
    with pytest.raises(UserError, match=part):
        parse(f"--config={write(GOOD)}", f"--config.{argument}")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (
            "config.model.act = print",
            "model.act must be a number, text, .* got a builtin",
        ),
        ("config.model.x = float('nan')", "model.x must be finite, got nan"),
        ("config.model.x = [1, {'a': float('inf')}]", "model.x.a must be finite"),
        ("config.model.x = {3: 4}", "key 3, which is no text|must be"),
        ("config.model = {}", "config"),
    ],
)
def test_values_that_config_json_could_not_hold(write, line, part):
    content = GOOD.replace("return config", f"{line}\n    return config")
    with pytest.raises(UserError, match=part):
        Settings.from_config(parse(f"--config={write(content)}"))


def test_a_section_within_itself(write):
    content = GOOD.replace(
        "return config", "config.model.m = config.model\n    return config"
    )
    with pytest.raises(UserError, match=r"config.*(deeper than 20|recursion|cycl)"):
        parse(f"--config={write(content)}")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"steps": 10**12}, "steps must be at least 0 and at most 2147483647"),
        ({"batch_size": 10**12}, "batch_size must be at least 1 and at most"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**32}, "seed must be at least 0 and at most 4294967295"),
        ({"optimizer": 3}, "optimizer must be a section, got 3"),
        ({"optimizer": {"beta1": 1.0}}, r"beta1 must be within \[0, 1\)"),
        (
            {"schedule": {"milestones": ["a"]}},
            r"milestones must be tuple\[float, ...\]",
        ),
        ({"schedule": {"milestones": [-1.0]}}, "milestones must be at least 0"),
        ({"model": {"name": 3}}, "model.name must be text"),
        ({"gradient_clip": float("nan")}, "gradient_clip must be finite"),
        ({"data": {"source": "digits", "x": float("inf")}}, "data.x must be finite"),
    ],
)
def test_settings_out_of_range(config, sentence):
    with pytest.raises(UserError, match=sentence):
        Settings.from_config(config)


def test_more_steps_than_can_be_counted():
    settings = Settings.from_config({"epochs": 1e300})
    with pytest.raises(UserError, match=r"1e\+300 epochs are 2147483647 steps or more"):
        settings.total_steps(1000)
    assert settings.in_steps(1e300, 1000) == LARGEST_COUNT  # "never" is a duration


def test_a_source_that_is_no_text():
    with pytest.raises(UserError, match="unknown data source"):
        data.load({"source": ["digits"]})


def numpys():
    np.empty(2**60, np.uint8)


def the_devices():
    raise RuntimeError("RESOURCE_EXHAUSTED: 9 GiB\nand a page of numbers")


@pytest.mark.parametrize("fail", [numpys, the_devices])
def test_too_little_memory_is_a_sentence(fail, capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line._guard(lambda _: fail(), [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out of memory (")
    assert line.endswith(
        "lower batch_size, the images' size, data.cache_bytes or the model's size"
    )
