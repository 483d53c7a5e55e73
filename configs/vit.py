"""The plain vision transformer of CIFAR-ViT.

python train.py --config configs/vit.py                  # digits
python train.py --config configs/vit.py:fashion_mnist    # 1.0 M parameters
python train.py --config configs/vit.py:cifar10          # the original's recipe
python train.py --config configs/vit.py:image_folder --config.data.directory=PATH

On two cores of an AMD EPYC, float32, seed 0 (docs/results.md):

    fashion_mnist   92.62 % of the test images   27 min 35 s

The others have not been trained here.
"""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant


def get_config(variant: str = "default") -> ConfigDict:
    """The named variant."""
    variants = {
        "default": digits,
        "fashion_mnist": fashion_mnist,
        "cifar10": cifar10,
        "image_folder": image_folder,
    }
    return select_variant(variants, variant)


def digits() -> ConfigDict:
    """8x8 digits of scikit-learn, enlarged: 16 tokens."""
    config = default_config()
    config.model = ConfigDict(
        {
            "name": "vit",
            "patch_size": 8,
            "embed_dim": 64,
            "depth": 4,
            "num_heads": 4,
            "mlp_ratio": 2.0,
            "dropout": 0.0,
            "attn_dropout": 0.0,
            "initialization": "xavier",
        }
    )
    config.data = ConfigDict({"source": "digits", "image_size": 32})
    config.augmentation.update(rotation=15.0, scale=0.15, shift=4.0)
    config.batch_size, config.epochs = 64, 100.0
    config.label_smoothing = 0.1
    config.optimizer.update(learning_rate=2e-3, weight_decay=0.05)
    config.schedule.update(warmup_epochs=5.0)
    return config


def fashion_mnist() -> ConfigDict:
    """28x28 clothes: 49 tokens. Debian's dataset-fashion-mnist, or TFDS.

    Half of the patches are left out of every training step: twice as many images are
    seen, and the network does not overfit. Muon learns in 3 epochs what takes AdamW 10
    (docs/results.md).
    """
    config = digits()
    config.data = ConfigDict({"source": "fashion_mnist"})
    config.model.update(patch_size=4, embed_dim=128, depth=6, mlp_ratio=3.0)
    config.model.patch_dropout = 0.5
    config.augmentation.update(rotation=0.0, scale=0.0, shift=0.0)
    config.augmentation.update(horizontal_flip=True)
    config.batch_size, config.epochs = 128, 18.0
    config.optimizer.update(name="muon", learning_rate=1.5e-3)
    config.schedule.update(warmup_epochs=0.5)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 1.0
    return config


def cifar10() -> ConfigDict:
    """32x32 photographs, from TFDS: 64 tokens; vit_base as the original trains it.

    Its label smoothing is asked for and ignored there; here it acts.
    """
    config = default_config()
    config.model = ConfigDict({"name": "cifar_vit_base", "patch_size": 4})
    config.data = ConfigDict({"source": "cifar10"})
    config.augmentation.update(crop_padding=4, horizontal_flip=True, rotation=15.0)
    config.augmentation.update(brightness=0.2, contrast=0.2, saturation=0.2)
    config.batch_size, config.epochs = 128, 100.0
    config.label_smoothing, config.gradient_clip = 0.1, 1.0
    config.optimizer.update(learning_rate=3e-4, weight_decay=1e-4, decay="all")
    config.schedule.update(name="cosine", minimum_learning_rate=1e-6)
    config.checkpoint.evaluate = "best"
    config.evaluate_every_epochs = 1.0
    return config


def image_folder() -> ConfigDict:
    """A folder per class: 224 pixels, 196 tokens. Few pictures: configs/finetune.py."""
    config = digits()
    config.data = ConfigDict({"source": "image_folder"})
    config.model.update(patch_size=16, embed_dim=192, depth=9, num_heads=6)
    config.model.update(mlp_ratio=4.0)
    config.augmentation.update(rotation=0.0, scale=0.0, shift=0.0)
    config.augmentation.update(horizontal_flip=True, random_resized_crop=0.35)
    config.augmentation.update(brightness=0.2, contrast=0.2, saturation=0.2)
    config.gradient_clip = 1.0
    config.optimizer.learning_rate = 1e-3
    config.evaluate_every_epochs = 1.0
    return config
