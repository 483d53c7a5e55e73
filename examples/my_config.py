"""What `my_model.py` beside this file registers, trained: seconds on two CPU cores.

python train.py --config examples/my_config.py             # test top-1 of 99 % or more
python train.py --config examples/my_config.py:routing     # our model, your router
python eval.py --config examples/my_config.py
python -m tokenjax analyze --workdirs mine=runs/my_config-default \\
    --import examples/my_model.py
"""

import my_model  # noqa: F401  registers what is named below
from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant


def get_config(variant: str = "default") -> ConfigDict:
    """Return the named variant."""
    return select_variant({"default": default, "routing": routing}, variant)


def default() -> ConfigDict:
    """A model of your own on images of your own."""
    config = default_config()
    config.model = ConfigDict({"name": "my_model", "embed_dim": 32})
    config.data = ConfigDict({"source": "my_source", "noise": 0.2})
    config.batch_size, config.epochs = 64, 20.0
    config.optimizer.learning_rate = 1e-2
    config.schedule.warmup_epochs = 1.0
    return config


def routing() -> ConfigDict:
    """A router of your own, in our model."""
    config = default()
    config.task = "routing"
    config.model = ConfigDict(
        {
            "name": "attention_routing",
            "router": "my_router",
            "patch_grid": 4,
            "encoder": "lean",
            "encoder_channels": 8,
            "big_hidden_dim": 32,
            "small_hidden_dim": 8,
            "embed_dim": 16,
        }
    )
    return config
