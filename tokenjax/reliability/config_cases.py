"""Cases for `damaged_configs`: a whole configuration file, and ways to go wrong.

Keys are those after "--config."; a value of `ALLOWED` must be taken and one of `WRONG`
refused, on whichever way it comes: as a flag or in the file.
"""

from typing import Any

TEMPLATE = '''"""A tiny run."""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant


def get_config(variant: str = "default") -> ConfigDict:
    return select_variant({"default": tiny, "long": long}, variant)


def tiny() -> ConfigDict:
    config = default_config()
    config.model = ConfigDict(
        {"name": "vdpa", "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2,
         "k_neighbors": 9, "drop": 0.0, "global_tokens": 1, "dtype": "float32"}
    )
    config.data = ConfigDict(
        {"source": "image_folder", "directory": %r, "image_size": 8,
         "validation_fraction": 0.2, "test_fraction": 0.2, "split_seed": 0,
         "cache_bytes": 1000000, "num_threads": 1, "broken": "refuse",
         "max_pixels": 10000, "outside_links": False}
    )
    config.batch_size, config.epochs = 2, 3.0
    return config


def long() -> ConfigDict:
    config = tiny()
    config.epochs = 30.0
    return config
'''
ALLOWED: dict[str, tuple] = {
    "seed": (0, 7, 2**32 - 1),
    "batch_size": (1, 4, 64),
    "epochs": (0.5, 3.0, 1e6),
    "steps": (0, 5, 2**31 - 1),
    "label_smoothing": (0.0, 0.1),
    "gradient_clip": (0.0, 1.0),
    "ema_decay": (0.0, 0.999),
    "optimizer.name": ("adamw", "adam", "sgd", "momentum", "muon"),
    "optimizer.learning_rate": (0.0, 1e-3, 10.0),
    "optimizer.beta1": (0.0, 0.9),
    "schedule.name": ("cosine", "step", "multistep", "constant", "plateau"),
    "schedule.warmup_epochs": (0.0, 0.5, 1e9),
    "checkpoint.every_epochs": (0.1, 1e9),
    "augmentation.rotation": (0.0, 15.0),
    "augmentation.mixup": (0.0, 0.2),
    "imbalance.sampler": ("shuffle", "weighted"),
    "model.depth": (1, 2),
    "model.embed_dim": (8, 12),
    "model.dtype": ("float32", "bfloat16"),
    "data.image_size": (4, 8, 16),
    "data.cache_bytes": (0, 10**9),
    "data.broken": ("refuse", "skip"),
}
WRONG: dict[str, tuple] = {
    "seed": (-1, 2**32, 1.5, "x"),
    "batch_size": (0, -1, 10**12, 2.5, "many", None),
    "epochs": (0.0, -1.0, float("nan"), float("inf"), 1e300, "long"),
    "steps": (-1, 10**12, 1e3),
    "label_smoothing": (1.0, -0.1, float("nan")),
    "ema_decay": (1.0, 2.0),
    "optimizer": (3, "adamw"),
    "optimizer.name": ("adamm", 3, ""),
    "optimizer.learning_rate": (-1.0, float("nan"), float("inf"), "1e-3x"),
    "optimizer.beta1": (1.0, -0.5, float("nan")),
    "schedule.milestones": (("a",), (-1.0,), "soon"),
    "schedule.factor": (-1.0, float("nan")),
    "augmentation.rotation": (-3.0, float("inf"), "much"),
    "augmentation.mixup": (-1.0, "x"),
    "task": ("classify", 1),
    "model.name": ("vpda", 3, ""),
    "model.depth": (-1, 0, 10**12, 1.5, "deep"),
    "model.embed_dim": (0, 7, -8, 10**12),
    "model.num_heads": (0, -2, 3),
    "model.patch_size": (0, -4, 100),
    "model.dtype": ("float33", "int32", ""),
    "model.drop": (float("nan"), "x"),
    "data.source": ("image_foldr", 3),
    "data.directory": ("", "nowhere", "a\nb", 3),
    "data.image_size": (0, -8, 10**12, 8.5),
    "data.validation_fraction": (1.0, -0.1, float("nan")),
    "data.num_threads": (-1, 10**12),
    "data.broken": ("ignore", 1),
}
UNKNOWN = (
    "epoch",
    "bath_size",
    "model.dpth",
    "optimizer.lr",
    "data.root",
    "x.y.z",
    "a",
)
ABSURD: tuple[Any, ...] = (
    0,
    -1,
    -7,
    10**12,
    1e300,
    -1e300,
    float("nan"),
    float("inf"),
    "",
    "many",
)
ABSURD += (None, True, [], [1, 2], (3.5,), "1e3", "\ud800", "a\nb", {"a": 1}, 2**70)
FILES = {
    "syntax": "def get_config(:\n",
    "import": "import no_such_module_at_all\n",
    "raises": "1 / 0\n",
    "get_config raises": "def get_config(v=''):\n    return {}['model']\n",
    "attribute": "def get_config(v=''):\n    return get_config.model\n",
    "opens": "def get_config(v=''):\n    return open('no such file')\n",
    "no get_config": "x = 3\n",
    "a number": "get_config = 3\n",
    "none": "def get_config(v=''):\n    pass\n",
    "a dict": "def get_config(v=''):\n    return {'epochs': 3}\n",
    "exits": "import sys\nsys.exit(0)\n",
    "recursion": "def get_config(v=''):\n    return get_config()\n",
    "two lines": "raise ValueError('one\\ntwo')\n",
    "empty": "",
    "nulls": "x = 3\0\n",
    "within itself": "from ml_collections import ConfigDict\ndef get_config(v=''):\n"
    "    c = ConfigDict()\n    c.c = c\n    return c\n",
    "a function": "from tokenjax.training import default_config\n"
    "def get_config(v=''):\n    c = default_config()\n    c.model.act = print\n"
    "    return c\n",
}
