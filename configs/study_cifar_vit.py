"""The CIFAR-ViT family on Fashion-MNIST: accuracy, and what it costs at inference.

python -m tokenjax.study --config configs/study_cifar_vit.py --jobs 1

Three runs of at most half an hour each on two cores of an AMD EPYC; the same command
goes on where it was cut. `dynamic_vit` starts from `vit`, its teacher, and prunes 49
tokens to 34, 24 and 16. `dynamic_vit_unpruned` is that network with the pruning
switched off. Writes table.md, results.json, accuracy.png and
accuracy_over_latency_fashion_mnist.png.

Seed 0 (docs/results.md): vit 92.62 %, dynamic_vit 92.68 % at 1.59 times its throughput,
linear_vit 90.54 %.
"""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant

SIZES = {"embed_dim": 128, "depth": 6, "num_heads": 4, "mlp_ratio": 3.0}
COMMON = {"dropout": 0.0, "initialization": "xavier"}
PRUNING = {"stages": (1, 2, 3), "keep_ratio": 0.7}
PATCH_DROPOUT = {"patch_dropout": 0.5}


def get_config(variant: str = "default") -> ConfigDict:
    """What to run: datasets x variants x seeds."""
    variants = {"default": full, "smoke": smoke, "accelerator": accelerator}
    return select_variant(variants, variant)


def full() -> ConfigDict:
    """The table of docs/results.md."""
    plain = {"name": "vit", "attn_dropout": 0.0} | SIZES | COMMON
    linear = {"name": "linear_vit"} | SIZES | COMMON
    dynamic = {"name": "dynamic_vit"} | SIZES | COMMON | PRUNING
    return ConfigDict(
        {
            "reference": "vit",
            "seeds": (0,),
            "columns": ("top1", "macro_f1", "minutes"),
            "latency_batch_size": 64,
            "datasets": {"fashion_mnist": fashion_mnist()},
            "variants": {
                "vit": {"model": plain | PATCH_DROPOUT},
                "linear_vit": {"model": linear | PATCH_DROPOUT, "epochs": 8.0},
                "dynamic_vit": {
                    "task": "pruning",
                    "teacher_run": "vit",
                    "model": dynamic,
                    "epochs": 4.0,
                    "optimizer": {"learning_rate": 5e-4},
                },
                "dynamic_vit_unpruned": {
                    "task": "pruning",
                    "weights_from": "dynamic_vit",
                    "model": dynamic | {"pruning": "none"},
                },
            },
        }
    )


def accelerator() -> ConfigDict:
    """The same on 49 tokens with a larger budget, in bfloat16: for a GPU or TPU."""
    config = full()
    data = config.datasets.fashion_mnist
    data.epochs = 100.0
    data.batch_size, data.optimizer.learning_rate = 512, 3e-3
    data.augmentation.random_erasing = 0.25
    data.schedule.warmup_epochs = 5.0
    data.evaluate_every_epochs = data.checkpoint.every_epochs = 10.0
    config.seeds = (0, 1, 2)
    for variant in config.variants.values():
        variant.model.update(embed_dim=192, num_heads=6, dtype="bfloat16")
    config.variants.dynamic_vit.epochs = 30.0
    return config


def smoke() -> ConfigDict:
    """A minute's worth of the same on digits, to see that it runs."""
    config = full()
    config.datasets = ConfigDict({"digits": digits()})
    for variant in config.variants.values():
        variant.model.update(embed_dim=32)
    config.variants.dynamic_vit.epochs = 2.0
    return config


def fashion_mnist() -> ConfigDict:
    """54,000 training images of 49 tokens, half of them seen at a time."""
    config = default_config()
    config.model = ConfigDict({"name": "vit", "patch_size": 4})
    config.data = ConfigDict({"source": "fashion_mnist", "image_size": 28})
    config.augmentation.update(horizontal_flip=True)
    config.batch_size, config.epochs = 128, 18.0
    config.label_smoothing = 0.1
    config.optimizer.update(name="muon", learning_rate=1.5e-3, weight_decay=0.05)
    config.schedule.update(warmup_epochs=0.5)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 1.0
    return config


def digits() -> ConfigDict:
    """1,259 training images of 64 tokens, 2 epochs."""
    config = fashion_mnist()
    config.data = ConfigDict({"source": "digits", "image_size": 32})
    config.epochs = 2.0
    return config
