"""What are weights of nine classes worth for ten? Fine-tuned against from scratch.

python -m tokenjax.study --config configs/study_finetuning.py --jobs 1

A ViT learns nine of Fashion-MNIST's classes from all their images (`nine`). It then
goes on, with a new head, to all ten, of which the tenth is new to it, from 10, 100 or
1000 images of each (`finetuned_*`); against it stands the same network from nothing, on
the same images and as many steps (`scratch_*`). Each arm has the learning rate that was
best for it with 100 images on another seed (of 5e-4, 1.5e-3, 5e-3 and of 1.5e-3, 5e-3,
1.5e-2). The same command goes on where it was cut. Writes table.md, results.json and
accuracy.png.

21 runs, 25 minutes on one core of an AMD EPYC (docs/results.md): from scratch 52.2,
75.0 and 78.8 % with 10, 100 and 1000 images of a class; fine-tuned 65.1, 77.8, 79.8 %.
"""

from ml_collections import ConfigDict, config_dict

from tokenjax.data.sources.fashion_mnist import CLASS_NAMES
from tokenjax.training import default_config, select_variant

NINE = CLASS_NAMES[:-1]  # without ankle boots
IMAGES_PER_CLASS = (10, 100, 1000)
BATCH = 64  # of what goes on to ten classes
RARELY = 1e6  # epochs: at the end alone


def get_config(variant: str = "default") -> ConfigDict:
    """What to run: variants x seeds."""
    return select_variant({"default": full, "smoke": smoke}, variant)


def full() -> ConfigDict:
    """The table of docs/results.md."""
    variants = {"nine": nine()}
    for count in IMAGES_PER_CLASS:
        variants[f"scratch_{count}"] = ten(count, 1.5e-2)
        finetuned = ten(count, 1.5e-3) | {"init_from_run": "nine"}
        variants[f"finetuned_{count}"] = finetuned
    return ConfigDict(
        {
            "reference": "nine",
            "seeds": (0, 1, 2),
            "columns": ("top1", "macro_f1", "minutes"),
            "latency_batch_size": 0,
            "datasets": {"fashion_mnist": fashion_mnist()},
            "variants": variants,
        }
    )


def smoke() -> ConfigDict:
    """A minute's worth of the same, to see that it runs."""
    config = full()
    config.seeds = (0,)
    config.variants.nine.epochs = 0.05
    for count in IMAGES_PER_CLASS[1:]:
        del config.variants[f"scratch_{count}"], config.variants[f"finetuned_{count}"]
    config.variants.scratch_10.steps = config.variants.finetuned_10.steps = 10
    return config


def nine() -> dict:
    """All images of nine classes, once, half of the patches left out."""
    return {
        "data": {"classes": NINE},
        "model": {"patch_dropout": 0.5},
        "batch_size": 128,
        "epochs": 1.0,
        "optimizer": {"learning_rate": 1.5e-3},
    }


def ten(count: int, learning_rate: float) -> dict:
    """So many images of each of ten classes, 200 steps, the first 20 a warm-up."""
    images = count * (len(NINE) + 1)
    return {
        "data": {"train_per_class": count},
        "steps": 200,
        "schedule": {"warmup_epochs": 20 * BATCH / images},
        "optimizer": {"learning_rate": learning_rate},
    }


def fashion_mnist() -> ConfigDict:
    """28x28 clothes, 49 tokens, 140 thousand parameters."""
    config = default_config()
    config.model = ConfigDict(
        {
            "name": "vit",
            "patch_size": 4,
            "embed_dim": 64,
            "depth": 4,
            "num_heads": 4,
            "mlp_ratio": 2.0,
            "dropout": 0.0,
            "attn_dropout": 0.0,
            "initialization": "xavier",
        }
    )
    config.data = ConfigDict(
        {
            "source": "fashion_mnist",
            "validation_fraction": 0.02,
            "classes": config_dict.placeholder(tuple),
            "train_per_class": 0,
        }
    )
    config.augmentation.update(horizontal_flip=True)
    config.label_smoothing = 0.1
    config.batch_size = BATCH
    config.optimizer.update(name="muon", weight_decay=0.05)
    config.schedule.update(warmup_epochs=0.1)
    config.figures = False
    config.evaluate_every_epochs = config.checkpoint.every_epochs = RARELY
    return config
