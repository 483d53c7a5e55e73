"""Any trained network, on a folder of one's own pictures.

python train.py --config configs/finetune.py --config.init_from=RUN \
    --config.data.directory=PHOTOS
python train.py --config configs/finetune.py --config.init_from=CONVERTED \
    --config.data.directory=PHOTOS --config.data.image_size=96

RUN is a run's directory, CONVERTED one that `tokenjax convert` wrote. The model, its
arguments and how pictures are prepared are those of the weights; the classes are the
folders' (a new head, unless their names are the weights' own), and another image size
or grey images are adapted to. Other data: --config.data.source=NAME. Docs: train.md.

The settings are for some hundreds of pictures: few epochs, the early layers at low
rates.
"""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant


def get_config(variant: str = "default") -> ConfigDict:
    """The named variant."""
    return select_variant({"default": image_folder}, variant)


def image_folder() -> ConfigDict:
    """A folder per class, the model of `init_from`."""
    config = default_config()
    config.model = ConfigDict({"name": "from_weights"})
    config.data = ConfigDict({"source": "image_folder"})
    config.augmentation.update(horizontal_flip=True, random_resized_crop=0.35)
    config.batch_size, config.epochs = 32, 20.0
    config.label_smoothing, config.gradient_clip = 0.1, 1.0
    config.optimizer.update(learning_rate=5e-4, weight_decay=0.05, layer_decay=0.75)
    config.schedule.update(warmup_epochs=2.0)
    config.evaluate_every_epochs = 1.0
    config.checkpoint.update(every_epochs=5.0, evaluate="best")
    return config
