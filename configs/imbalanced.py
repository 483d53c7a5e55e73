"""A ViT on a thinned training split; validation and test stay balanced.

python train.py --config configs/imbalanced.py                  # digits
python train.py --config configs/imbalanced.py:fashion_mnist
python train.py --config configs/imbalanced.py:cifar10          # the original's
python train.py --config configs/imbalanced.py:image_folder --config.data.directory=PATH
python train.py --config configs/imbalanced.py --config.imbalance.sampler=weighted

`imbalance` says how the split is thinned (profile, ratio = smallest class over largest,
seed) and what answers to it: class_weights, sampler, logit_adjustment.

What each answer is worth was measured on the thinned Fashion-MNIST in 10 epochs
(configs/study_imbalance.py, docs/results.md): macro F1 of 74.9 % without any, 80.6 %
with logit adjustment. The variants here have not been timed.
"""

from ml_collections import ConfigDict

from tokenjax.training import select_variant

from . import vit


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
    """8x8 digits of scikit-learn: 124 zeros in training, and 6 nines."""
    config = vit.digits()
    config.imbalance.update(profile="exponential", ratio=0.05, logit_adjustment=1.0)
    config.imbalance.update(many_shot=60, few_shot=20)
    config.epochs = 200.0
    config.schedule.update(warmup_epochs=10.0)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 20.0
    return config


def fashion_mnist() -> ConfigDict:
    """28x28 clothes: 5,400 T-shirts in training, and 54 ankle boots; 13,399 images.

    No class is "few" by the usual 20 images, so the groups are set for this set.
    """
    config = digits()
    config.data = ConfigDict({"source": "fashion_mnist"})
    config.model.update(patch_size=7)
    config.imbalance.update(ratio=0.01, many_shot=1000, few_shot=200)
    config.augmentation.update(rotation=0.0, scale=0.0, shift=0.0)
    config.augmentation.update(horizontal_flip=True)
    config.epochs, config.optimizer.learning_rate = 20.0, 1e-3
    config.schedule.update(warmup_epochs=1.0)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 4.0
    return config


def cifar10() -> ConfigDict:
    """5,000 airplanes to 500 trucks, in a straight line; the original's weighted run.

    There the weights are not used, and label smoothing is ignored; here both act.
    """
    config = vit.cifar10()
    config.imbalance.update(profile="linear", ratio=0.1, seed=42)
    config.imbalance.update(class_weights="inverse_frequency")
    config.imbalance.update(many_shot=3000, few_shot=1500)
    return config


def image_folder() -> ConfigDict:
    """A folder per class, as uneven as it is: nothing is thinned."""
    config = vit.image_folder()
    config.imbalance.update(logit_adjustment=1.0)
    return config
