"""DynamicViT: patches that are not needed are dropped on the way.

python train.py --config configs/dynamic_vit.py                  # digits
python train.py --config configs/dynamic_vit.py:fashion_mnist
python train.py --config configs/dynamic_vit.py:cifar10          # the original's
python train.py --config configs/dynamic_vit.py:cifar10_learned  # ours on its network
python train.py --config configs/dynamic_vit.py:image_folder \
    --config.data.directory=PATH

`cifar10` is what the original's experiments/configs/dynamic_vit.yaml makes its program
train: configs/vit.py's recipe with 384/6/6, learning rate 5e-4, and of the batches 50 %
mixed by mixup (alpha 0.8) and 25 % by cutmix (alpha 1). Nothing is pruned in it, and
nothing teaches its predictors; label smoothing 0.1 is asked for and ignored. Pruned as
the original would, by scores that were never learned: eval.py
--config.model.pruning=inference. configs/vit.py says where ours differs.

The others train the network unpruned first (in WORKDIR/teacher), then, from its
weights, the one that prunes. --config.distillation.teacher=runs/NAME takes a teacher
trained before.
The unpruned network with the pruned one's weights: eval.py --config.model.pruning=none

On two cores of an AMD EPYC, float32, seed 0 (docs/results.md):

    fashion_mnist   92.68 % of the test images, 1.6 times the teacher's images/s
                    20 min 33 s after the teacher's 27 min 35 s (92.62 %)

The others have not been trained here.
"""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant

from . import vit


def get_config(variant: str = "default") -> ConfigDict:
    """The named variant."""
    variants = {
        "default": digits,
        "fashion_mnist": fashion_mnist,
        "cifar10": cifar10,
        "cifar10_learned": cifar10_learned,
        "image_folder": image_folder,
    }
    return select_variant(variants, variant)


def digits() -> ConfigDict:
    """8x8 digits of scikit-learn, enlarged: 64 tokens, of which 44, 31, 21 are left."""
    config = default_config()
    config.task = "pruning"
    config.model = ConfigDict(
        {
            "name": "dynamic_vit",
            "patch_size": 4,
            "embed_dim": 64,
            "depth": 4,
            "num_heads": 4,
            "mlp_ratio": 2.0,
            "dropout": 0.0,
            "predictor": "local_global",
            "pruning": "learned",
            "stages": (1, 2, 3),
            "keep_ratio": 0.7,
            "initialization": "xavier",
        }
    )
    config.data = ConfigDict({"source": "digits", "image_size": 32})
    config.augmentation.update(rotation=15.0, scale=0.15, shift=4.0)
    config.batch_size, config.epochs = 64, 30.0
    config.label_smoothing = 0.1
    config.optimizer.update(learning_rate=1e-3, weight_decay=0.05)
    config.schedule.update(warmup_epochs=2.0)
    config.distillation.update(teacher_epochs=60.0, teacher_learning_rate=2e-3)
    return config


def fashion_mnist() -> ConfigDict:
    """28x28 clothes: 49 tokens, of which 34, 24, 16 are left."""
    config = digits()
    config.data = ConfigDict({"source": "fashion_mnist"})
    config.model.update(patch_size=4, embed_dim=128, depth=6, mlp_ratio=3.0)
    config.model.patch_dropout = 0.5  # of the teacher
    config.augmentation.update(rotation=0.0, scale=0.0, shift=0.0)
    config.augmentation.update(horizontal_flip=True)
    config.batch_size, config.epochs = 128, 4.0
    config.optimizer.update(name="muon", learning_rate=5e-4)
    config.schedule.update(warmup_epochs=0.5)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 1.0
    config.distillation.update(teacher_epochs=18.0, teacher_learning_rate=1.5e-3)
    return config


def cifar10() -> ConfigDict:
    """32x32 photographs: 64 tokens; 10,697,872 parameters, predictors among them."""
    config = vit.cifar10()
    config.model.name = "dynamic_vit"
    config.model.update(embed_dim=384, depth=6, num_heads=6, mlp_ratio=4.0)
    config.model.update(predictor="linear", pruning="none")
    del config.model.attn_dropout  # `dropout` is of attention too, 0.1 as the file asks
    config.optimizer.learning_rate = 5e-4
    config.augmentation.update(mixup=0.8, cutmix=1.0)
    return config


def cifar10_learned() -> ConfigDict:
    """The same network, unpruned for 100 epochs, then 30 more with pruning learned.

    As Rao et al. train it: the original's name is theirs.
    """
    config = cifar10()
    config.task = "pruning"
    config.model.update(predictor="local_global", pruning="learned")
    config.epochs, config.optimizer.learning_rate = 30.0, 1e-4
    config.distillation.update(teacher_epochs=100.0, teacher_learning_rate=5e-4)
    return config


def image_folder() -> ConfigDict:
    """A folder per class: 224 pixels, 196 tokens, of which 137, 96, 67 are left."""
    config = digits()
    config.data = ConfigDict({"source": "image_folder"})
    config.model.update(patch_size=16, embed_dim=192, depth=9, num_heads=6)
    config.model.update(mlp_ratio=4.0, stages=(2, 4, 6))
    config.augmentation.update(rotation=0.0, scale=0.0, shift=0.0)
    config.augmentation.update(horizontal_flip=True, random_resized_crop=0.35)
    config.gradient_clip = 1.0
    config.optimizer.learning_rate = 2e-4
    config.evaluate_every_epochs = 1.0
    config.distillation.update(teacher_epochs=100.0, teacher_learning_rate=1e-3)
    return config
