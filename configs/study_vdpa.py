"""Does VDPA's idea work? The recorded model against each mended part and a plain ViT.

python -m tokenjax.study --config configs/study_vdpa.py

36 runs at an equal budget of images, two at a time, 25 minutes on two cores of an AMD
EPYC beside other work; the same command goes on where it was cut. Writes table.md,
results.json and accuracy.png.

Test accuracy on `cluttered` (docs/results.md): recorded 37.4 %, with the soft top-k
51.3 %, a plain ViT 20.2 %; on digits all are within the noise of their seeds.
"""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant

SOFT_TOPK = {"stk": "soft_topk", "stk_temperature": 0.1}
GLOBAL = {"global_tokens": 4}
BORDER = {"alp_border": "renormalise"}


def get_config(variant: str = "default") -> ConfigDict:
    """What to run: datasets x variants x seeds."""
    return select_variant({"default": full, "smoke": smoke}, variant)


def full() -> ConfigDict:
    """The table of docs/results.md."""
    vit = {
        "name": "vit",
        "embed_dim": 64,
        "depth": 4,
        "num_heads": 4,
        "mlp_ratio": 2.0,
        "dropout": 0.0,
        "attn_dropout": 0.0,
    }
    return ConfigDict(
        {
            "reference": "recorded",  # what latencies are divided by
            "seeds": (0, 1, 2),
            "columns": ("top1", "effective_keys", "alpha"),
            "latency_batch_size": 64,
            "datasets": {"digits": digits(), "cluttered": cluttered()},
            "variants": {
                "recorded": {"model": {"stk": "recorded", "alp_border": "center"}},
                "soft_topk": {"model": SOFT_TOPK},
                "global_tokens_4": {"model": GLOBAL},
                "renormalise": {"model": BORDER},
                "all_three": {"model": SOFT_TOPK | GLOBAL | BORDER},
                "softmax_vit": {"model": vit},
            },
        }
    )


def smoke() -> ConfigDict:
    """A minute's worth of the same, to see that it runs."""
    config = full()
    config.seeds = (0,)
    config.datasets = ConfigDict({"digits": digits()})
    config.datasets.digits.epochs = 2.0
    for name in ("global_tokens_4", "renormalise", "all_three"):
        del config.variants[name]
    return config


def digits() -> ConfigDict:
    """16 tokens; 50,000 images."""
    config = _common()
    config.data = ConfigDict({"source": "digits", "image_size": 32})
    config.model.patch_size = 8
    config.augmentation.update(rotation=15.0, scale=0.15, shift=4.0)
    config.epochs = 40.0
    return config


def cluttered() -> ConfigDict:
    """16 tokens of 16 pixels; 120,000 images.

    Half of them are warm-up: with one epoch of it the recorded model and the ViT stall.
    """
    config = _common()
    config.data = ConfigDict({"source": "cluttered", "canvas": 64})
    config.model.patch_size = 16
    config.epochs = 6.0
    config.schedule.update(warmup_epochs=3.0)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 2.0
    return config


def _common() -> ConfigDict:
    config = default_config()
    config.model = ConfigDict(
        {
            "name": "vdpa",
            "patch_size": 8,
            "embed_dim": 64,
            "depth": 4,
            "num_heads": 4,
            "mlp_ratio": 2.0,
        }
    )
    config.batch_size = 64
    config.label_smoothing = 0.1
    config.optimizer.update(learning_rate=2e-3, weight_decay=0.05)
    config.schedule.update(warmup_epochs=1.0)
    return config
