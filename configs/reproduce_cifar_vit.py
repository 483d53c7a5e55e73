"""What of CIFAR-ViT's README holds: its four models, balanced and imbalanced.

python -m tokenjax reproduce cifar_vit --data fashion_mnist --budget 60

The study that this command runs: conditions (its `datasets`) x models (its `variants`)
x seeds. How long a run is, the command sets from its budget.

    fashion_mnist   the original's models at an eighth of their width and half of their
                    depth, 7-pixel patches (16 tokens), the optimiser of configs/vit.py
    cifar10         the original's sizes and recipes, as configs/vit.py, dynamic_vit.py
                    and linear_vit.py have them in their variants :cifar10
    digits          a small one, to see that it runs
"""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant

from . import dynamic_vit, imbalanced, linear_vit, vit

THINNING = {"profile": "linear", "ratio": 0.1, "seed": 42}
CONDITIONS = {
    "balanced": {},
    "imbalanced": THINNING,
    "class_weights": THINNING | {"class_weights": "inverse_frequency"},
    "weighted_sampler": THINNING | {"sampler": "weighted"},
    "logit_adjustment": THINNING | {"logit_adjustment": 1.0},
}
OF_CONDITIONS = ("data", "imbalance", "seed")  # what a model's recipe leaves alone
PLAIN = {"dropout": 0.0, "initialization": "xavier"}
KEPT = 0.7  # of the patches, at each stage of the network that prunes


def get_config(variant: str = "fashion_mnist") -> ConfigDict:
    """What to run: conditions x models x seeds."""
    variants = {"fashion_mnist": fashion_mnist, "cifar10": cifar10, "digits": digits}
    return select_variant(variants, variant)


def fashion_mnist() -> ConfigDict:
    """28x28 clothes: 57,000 of the training images are learned from, 3,000 validate."""
    config = default_config()
    config.data = ConfigDict({"source": "fashion_mnist", "validation_fraction": 0.05})
    config.model = ConfigDict({"name": "vit", "patch_size": 7})
    config.imbalance.update(many_shot=4000, few_shot=2000)
    config.augmentation.update(horizontal_flip=True)
    config.batch_size, config.label_smoothing = 64, 0.1
    config.optimizer.update(name="muon", learning_rate=1.5e-3, weight_decay=0.05)
    config.schedule.update(warmup_epochs=5.0)  # of 100: a twentieth of a run
    return _study(config, _small_models(), (KEPT, KEPT))


def digits() -> ConfigDict:
    """8x8 digits of scikit-learn, 16 tokens."""
    study = fashion_mnist()
    for config in study.datasets.values():
        config.data = ConfigDict({"source": "digits", "image_size": 28})
        config.batch_size = 32
        config.imbalance.update(many_shot=100, few_shot=40)
    return study


def cifar10() -> ConfigDict:
    """32x32 photographs: 64 tokens, 100 epochs where the budget allows."""
    recipes = {
        "vit_base": vit.cifar10(),
        "vit_small": vit.cifar10_small(),
        "dynamic_vit": dynamic_vit.cifar10(),
        "linear_vit": linear_vit.cifar10(),
    }
    models = {name: _overlay(recipe) for name, recipe in recipes.items()}
    models["dynamic_vit_pruned"] = _overlay(dynamic_vit.cifar10_learned()) | {
        "teacher_run": "dynamic_vit"
    }
    config = vit.cifar10()
    config.imbalance.update(many_shot=3000, few_shot=1500)
    # Learned, it prunes before the blocks 1, 3 and 4 of 6.
    study = _study(config, models, (KEPT, 1.0, KEPT, KEPT, 1.0))
    for name in CONDITIONS:
        if name != "balanced":  # the original's 27,500 of all 50,000 images
            study.datasets[name].data = imbalanced.cifar10().data
            study.datasets[name].imbalance.validation = "left_out"
    return study


def _study(
    config: ConfigDict, models: dict[str, dict], rates: tuple[float, ...]
) -> ConfigDict:
    """Lay conditions over a training configuration, and add what evaluates alone.

    `rates` are what each block would leave of the patches to prune as ours does.
    """
    datasets = {}
    for name, answer in CONDITIONS.items():
        datasets[name] = config.copy_and_resolve_references()
        datasets[name].imbalance.update(answer)
    # What inference_mode=True would do there: scores of predictors that never learned;
    # and the same, where as many patches go as the network that prunes lets go.
    random = models["dynamic_vit"]["model"] | {"pruning": "inference"}
    for name, changed in (
        ("dynamic_vit_random", {}),
        ("dynamic_vit_random_alike", {"keep_rate": rates}),
    ):
        models[name] = {"weights_from": "dynamic_vit", "model": random | changed}
    return ConfigDict(
        {
            "reference": "vit_base",
            "seeds": (0, 1, 2),
            "columns": ("top1", "balanced", "macro_f1", "few", "minutes"),
            "latency_batch_size": 0,
            "datasets": datasets,
            "variants": models,
        }
    )


def _small_models() -> dict[str, dict]:
    """512, 384, 384, 384 wide and 6, 12, 6, 6 deep there; heads of equal width."""
    plain = PLAIN | {"attn_dropout": 0.0}
    size = {"embed_dim": 48, "depth": 3, "num_heads": 3}
    dynamic = {"name": "dynamic_vit"} | size | PLAIN
    learned = {"predictor": "local_global", "pruning": "learned", "keep_ratio": KEPT}
    return {
        "vit_base": {
            "model": {"name": "vit", "embed_dim": 64, "depth": 3, "num_heads": 4}
            | plain
        },
        "vit_small": {"model": {"name": "vit"} | size | {"depth": 6} | plain},
        "dynamic_vit": {"model": dynamic | {"predictor": "linear", "pruning": "none"}},
        "linear_vit": {
            "model": {"name": "linear_vit", "mlp_ratio": 3.0} | size | PLAIN
        },
        "dynamic_vit_pruned": {
            "task": "pruning",
            "teacher_run": "dynamic_vit",
            "model": dynamic | learned | {"stages": (1, 2)},
            "optimizer": {"learning_rate": 5e-4},
        },
    }


def _overlay(recipe: ConfigDict) -> dict:
    """Return a model's own recipe, to lay over every condition."""
    return {k: v for k, v in recipe.to_dict().items() if k not in OF_CONDITIONS}
