"""Settings: every key is read, every mistake is said."""

import pytest

from tokenjax.errors import UserError
from tokenjax.training.settings import Settings, default_config


def test_defaults_are_themselves():
    assert Settings.from_config(default_config()) == Settings()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"epoch": 3.0}, "unknown configuration key 'epoch', did you mean 'epochs'"),
        ({"optimizer": {"lr": 1.0}}, "unknown configuration key in optimizer 'lr'"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 1.5}, "batch_size must be int"),
        ({"epochs": 0.0}, "epochs or steps must be above 0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be within \[0, 1\)"),
        ({"schedule": {"name": "linear"}}, "schedule.name must be one of"),
        ({"reid": {"fused_weight": -1.0}}, "reid.fused_weight must be at least 0"),
        ({"model": {}}, "model.name is missing"),
        ({"augmentation": {"rotate": 3}}, "did you mean 'rotation'"),
    ],
)
def test_mistakes(config, sentence):
    with pytest.raises(UserError, match=sentence):
        Settings.from_config(config)


def test_durations():
    settings = Settings.from_config({"epochs": 2.5, "batch_size": 64})
    assert settings.total_steps(640) == 25
    assert Settings.from_config({"steps": 7}).total_steps(640) == 7
