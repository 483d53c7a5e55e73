"""Attention-guided routing: patches to a big or a small network, by a threshold.

python train.py --config configs/routing.py                    # one digit in clutter
python train.py --config configs/routing.py:full_compute       # its baselines
python train.py --config configs/routing.py:fashion_mnist
python train.py --config configs/routing.py:cifar10-cheap_compute
python train.py --config configs/routing.py:image_folder --config.data.directory=PATH
python eval.py --config configs/routing.py --eval_all          # a table of all four
python -m tokenjax.study --config configs/routing.py --jobs 2  # its ablation
python -m tokenjax.study --config configs/routing.py:questions --jobs 2  # three seeds

python train.py --config configs/routing.py:cifar10 --config.data.image_size=64 \
    --config.augmentation.crop_padding=8                       # enlarged to 64 pixels

Any resolution that the grid of patches divides will do (`data.image_size`; of the
default data it is `data.canvas`); `crop_padding` is in pixels.

Variants: DATA, MODEL or DATA-MODEL. `budget_weight`, `target_ratio` and the section
`routing` say how many patches go to the big network; with budget_weight 0 nothing asks
for a ratio, as in the original.

On two cores of an AMD EPYC, float32, seed 0 (docs/results.md):

    default         92.80 % of the test images, 25.7 % of the patches to the big
                    network, 98.0 % of the target's among them   5 min 33 s
    full_compute    92.25 %                                      4 min 59 s
    cheap_compute   70.60 %                                      1 min 44 s
    no_routing      23.90 %                                      1 min 29 s
"""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant

MODELS = ("attention_routing", "full_compute", "cheap_compute", "no_routing")


def get_config(variant: str = "default") -> ConfigDict:
    """The named variant: data, model, or both joined by a dash."""
    datasets = {
        "default": cluttered,
        "questions": questions,
        "fashion_mnist": fashion_mnist,
        "cifar10": cifar10,
        "cifar100": cifar100,
        "image_folder": image_folder,
    }
    names = {
        "-".join(part for part in (data, model) if part) or "default": (data, model)
        for data in ("", *(name for name in datasets if name != "default"))
        for model in ("", *MODELS)
    }
    select_variant(dict.fromkeys(names, dict), variant)  # or one sentence
    data, model = names[variant]
    config = datasets[data or "default"]()
    config.model.name = model or MODELS[0]
    prefix = f"{data}-" if data else ""
    own = {MODELS[0]: data or "default"}
    config.compare = ConfigDict(own | {name: prefix + name for name in MODELS[1:]})
    return config


def cluttered() -> ConfigDict:
    """One whole digit among fragments of others, 64 pixels, 16 patches.

    The sizes are chosen so that routing can pay: the lean encoder costs 2.6 MFLOP, the
    big network on every patch 14.7.
    """
    config = default_config()
    config.task = "routing"
    config.model = ConfigDict(
        {
            "name": "attention_routing",
            "patch_grid": 4,
            "encoder": "lean",
            "encoder_channels": 16,
            "encoder_layers": 3,
            "router": "learnable_threshold",
            "threshold": 0.3,
            "big_hidden_dim": 512,
            "big_layers": 2,
            "small_hidden_dim": 16,
            "small_layers": 1,
            "embed_dim": 128,
            "aggregator": "attention",
            "attention_scale": 10.0,
            "dropout": 0.0,
            "mask_gradient": "dense",
            "target_ratio": 0.25,
            "budget_weight": 4.0,
        }
    )
    config.data = ConfigDict(
        {
            "source": "cluttered",
            "canvas": 64,
            "digit_size": 20,
            "fragments": 8,
            "fragment_size": 10,
            "noise": 0.1,
            "train_examples": 100_000,
            "validation_examples": 1000,
            "test_examples": 2000,
        }
    )
    config.batch_size, config.epochs = 64, 3.2
    config.optimizer.update(name="adam", learning_rate=1e-3, weight_decay=0.0)
    config.schedule.update(warmup_epochs=0.1)
    config.routing.update(anneal_from_epochs=0.64, anneal_to_epochs=1.6)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 0.32
    config.ablation = ablation()
    return config


def ablation() -> ConfigDict:
    """What `tokenjax.training.ablate` varies, one setting at a time."""
    return ConfigDict(
        {
            "grid": "one_at_a_time",
            "axes": {
                "model": {
                    "name": MODELS[1:],
                    "threshold": (0.1, 0.5),
                    "temperature": (0.1,),
                    "patch_grid": (2, 8),
                    "target_ratio": (0.125, 0.5),
                    "budget_weight": (0.0,),
                    "router": ("sigmoid_gate", "gumbel", "top_k"),
                    "mask_gradient": ("executed",),
                    "aggregator": ("concat", "mean"),
                    "attention_scale": (1.0,),
                },
                "routing": {"anneal_to_epochs": (0.0,)},
            },
            "seeds": (0,),
            "columns": ("top1", "routing_ratio", "target_recall", "score_std"),
            "latency_batch_size": 256,
        }
    )


def questions() -> ConfigDict:
    """The framework's research questions: three seeds of each variant.

    So that they fit into an hour of one core: a larger digit among fewer fragments, a
    narrower big network, 1562 steps of 32 images, and the budget asked for from the
    start, which takes fewer steps than annealing it.
    """
    config = cluttered()
    config.model.big_hidden_dim = 256
    config.data.update(digit_size=28, fragments=4, train_examples=50_000)
    config.batch_size, config.epochs, config.figures = 32, 1.0, False
    config.schedule.update(warmup_epochs=0.03)
    config.routing.update(anneal_from_epochs=0.2, anneal_to_epochs=0.0)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 1.0
    gumbel = {"router": "gumbel"}
    mended = gumbel | {"gumbel_noise": 0.1, "gumbel_threshold": "learned"}
    config.ablation = ConfigDict(
        {
            "grid": "named",
            "variants": {
                **{name: {"model": {"name": name}} for name in MODELS[1:]},
                "target_eighth": {"model": {"target_ratio": 0.125}},
                "target_half": {"model": {"target_ratio": 0.5}},
                "grid_8": {"model": {"patch_grid": 8}},
                "sigmoid_gate": {"model": {"router": "sigmoid_gate"}},
                "top_k": {"model": {"router": "top_k"}},
                "gumbel": {"model": mended},
                "gumbel_as_specified": {"model": gumbel},
            },
            "seeds": (0, 1, 2),
            "columns": ("top1", "routing_ratio", "target_recall", "score_std"),
            "latency_batch_size": 256,
        }
    )
    return config


def fashion_mnist() -> ConfigDict:
    """28x28 clothes, 16 patches of 7 pixels. Debian's dataset-fashion-mnist, or TFDS.

    Everything is in its place, so patches are joined by position.
    """
    config = cluttered()
    config.data = ConfigDict({"source": "fashion_mnist"})
    config.model.update(aggregator="concat", dropout=0.1)
    config.augmentation.update(horizontal_flip=True)
    config.batch_size, config.epochs = 128, 10.0
    config.schedule.update(warmup_epochs=0.5)
    config.routing.update(anneal_from_epochs=2.0, anneal_to_epochs=5.0)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 1.0
    return config


def cifar10() -> ConfigDict:
    """32x32 photographs, from TFDS; the original's sizes and recipe, with a budget.

    As recorded: --config.model.encoder=convolutional --config.model.encoder_channels=64
    --config.model.threshold=0.5 --config.model.budget_weight=0
    """
    config = fashion_mnist()
    config.data = ConfigDict({"source": "cifar10"})
    config.model.update(encoder_channels=40, encoder_layers=2, big_layers=3)
    config.model.update(small_hidden_dim=64)
    config.augmentation.update(crop_padding=4)
    config.epochs = 100.0
    config.routing.update(anneal_from_epochs=10.0, anneal_to_epochs=50.0)
    return config


def cifar100() -> ConfigDict:
    """The same with 100 classes."""
    config = cifar10()
    config.data.source = "cifar100"
    return config


def image_folder() -> ConfigDict:
    """A folder per class: 224 pixels, 49 patches of 32."""
    config = cifar10()
    config.data = ConfigDict({"source": "image_folder"})
    config.model.update(patch_grid=7)
    config.augmentation.update(crop_padding=0, random_resized_crop=0.35)
    config.batch_size = 64
    return config
