"""The report's head, background, architectures and settings."""

from ml_collections import ConfigDict

from tokenjax import models
from tokenjax.reproduction.budget import PRUNING_SHARE
from tokenjax.reproduction.claims import CLAIMS
from tokenjax.reproduction.differences import LEVEL
from tokenjax.reproduction.jobs import BALANCED, CONDITIONS, IMBALANCED, PRUNED
from tokenjax.reproduction.material import Material, joined, listed, prose, table
from tokenjax.training import default_config

NAMES = {
    "cifar10": "CIFAR-10",
    "fashion_mnist": "Fashion-MNIST",
    "digits": "scikit-learn's digits",
}
MEANINGS = {
    "balanced": "the whole training split",
    "imbalanced": "thinned in a straight line, the last class to a tenth of the first; "
    "no answer",
    "class_weights": "the same; a class's loss times the inverse of its frequency",
    "weighted_sampler": "the same; drawn with replacement, every class equally often",
    "logit_adjustment": "the same; the log of the prior added to the logits in "
    "training (ours: Menon et al., arXiv 2007.07314)",
}
SIZES = ("embed_dim", "depth", "num_heads", "mlp_ratio")


def head(material: Material) -> str:
    """Return the title, and the command that wrote it."""
    plan, where = material.plan, material.costs["environment"]
    seeds = ",".join(map(str, plan.seeds))
    made = prose(
        "This command trained every network below and wrote this report, whole, from",
        "what it measured; the same command goes on where it was cut.",
        f"{len(material.runs)} runs on {NAMES[plan.data]},",
        f"{len(plan.seeds)} seed{'s' if len(plan.seeds) > 1 else ''},",
        f"{material.findings.minutes():.0f} minutes of running in all, on",
        f"{where['hardware']} ({where['platform']}), jax {where['jax']}, flax",
        f"{where['flax']}, float32; begun at commit {plan.commit}, costs measured at",
        f"{where['commit']}.",
    )
    read = prose(
        "Accuracies are means over the seeds ± their sample standard deviation, in",
        f"percent of {material.findings.examples():,} test images. A difference is",
        f"*beyond the seeds' spread* where a t-test gives p < {LEVEL:g}: Welch's",
        "between two networks; the paired one, network by network and seed by seed,",
        "between two answers to imbalance, and between pruned and unpruned. With so",
        "few seeds it finds large differences alone, and of many comparisons it finds",
        "one in twenty by chance.",
    )
    return f"""\
# CIFAR-ViT done again: what of its README holds

    python -m tokenjax reproduce cifar_vit --data {plan.data} \
--budget {plan.budget:g} --seeds {seeds}

{made}

{read}"""


def background() -> str:
    """Return what the original is and claims."""
    return "\n\n".join(
        [
            "## 1. Background",
            prose(
                "CIFAR-ViT is a PyTorch program that trains four vision transformers",
                "on CIFAR-10 and on an imbalanced part of it: two plain ones, one that",
                "drops patches (DynamicViT) and one with linear attention",
                "(LightweightViT). Its README has a table of parameters, FLOPs,",
                "accuracy and time per image. Read line by line, the program differs",
                "from what is said of it:",
            ),
            listed(
                [
                    "the table was not measured: nothing in the program makes it, and "
                    "its parameters are not those of the networks that it builds "
                    "(section 4.1);",
                    "DynamicViT never drops a patch where it is trained, evaluated or "
                    "counted, and its predictors never receive a gradient: what is "
                    "measured as DynamicViT is a plain transformer;",
                    "class weights never act through the documented command, and label "
                    "smoothing is asked for and ignored;",
                    "warm-up, mixed precision and gradient accumulation are spoken of "
                    "and not there (here: `schedule.warmup_epochs`, `model.dtype`, "
                    "`gradient_accumulation`).",
                ]
            ),
        ]
    )


def architectures(material: Material) -> str:
    """Return the networks, as the original builds them and as they were trained."""
    rows = []
    original, trained = material.costs["original"], material.costs["trained"]["1"]
    for name, claim in CLAIMS.items():
        rows.append(
            [
                claim.title,
                _sizes({"name": claim.model, **claim.arguments}),
                f"{original[name]['parameters']:,}",
                _sizes(material.recipe(name).model.to_dict()),
                f"{trained[name]['parameters']:,}",
            ]
        )
    sizes = "width / depth / heads / MLP ratio"
    headings = [
        *("network", f"original: {sizes}", "parameters"),
        *(f"trained here: {sizes}", "parameters"),
    ]
    patch = material.study.datasets[BALANCED].model.patch_size
    scaled = "The networks trained here are the original's own."
    if not material.on_cifar:
        scaled = (
            "The networks trained here are the original's in small, in about the same "
            "proportions, so that minutes on two cores train them; patches have "
            f"{patch} pixels a side."
        )
    described = prose(
        "All have a class token, learned positions, pre-norm blocks and a linear head.",
        "*vit_base* and *vit_small* attend by softmax, and differ in width and depth.",
        "*DynamicViT* adds predictors that could choose which patches go on; unpruned,",
        "as the original runs it, it is a plain transformer. *LightweightViT* replaces",
        "softmax(QKᵀ)V by relu(Q)(relu(K)ᵀV) over its normaliser, which is linear in",
        f"the number of tokens. *{PRUNED}* is ours: predictors that learn which",
        "patches the unpruned network can do without, by the distillation of Rao et",
        "al. (arXiv 2106.02034).",
    )
    return "\n\n".join(
        ["## 2. Architectures", described, table(headings, rows), prose(scaled)]
    )


def _sizes(model: dict[str, object]) -> str:
    """Return a model's sizes, those it does not name by their defaults."""
    known = models.arguments(str(model["name"]))
    values = {key: model.get(key, known[key].default) for key in SIZES}
    return " / ".join(f"{value:g}" for value in values.values())


def settings(material: Material) -> str:
    """Return the data, the recipe, the length of the runs."""
    plan = material.plan
    rows = [
        [
            name.replace("_", " "),
            MEANINGS[name],
            f"{plan.examples[name]:,}",
            f"{max(plan.counts[name]):,} … {min(plan.counts[name]):,}",
            f"{plan.images / plan.examples[name]:.2f}",
        ]
        for name in CONDITIONS
    ]
    headings = ("condition", "training images are", "how many", "of a class", "epochs")
    length = prose(
        f"Every run learns from {plan.images:,} images, whatever its condition: as",
        f"many as the budget of {plan.budget:g} minutes for all runs bought on this",
        f"machine, where seconds per step were measured first. *{PRUNED}* goes on from",
        f"the unpruned network, with {100 * PRUNING_SHARE:.0f} % as many. The",
        "seed decides the initial weights and the order of the images; what",
        f"*{IMBALANCED}* leaves out is the same for all.",
    )
    return "\n\n".join(
        [
            "## 3. Settings",
            prose(
                f"{NAMES[plan.data]}; {material.findings.examples():,} test images,",
                "the same and balanced under every condition.",
            ),
            table(headings, rows),
            material.figure("classes", "class distribution"),
            length,
            _training(material),
        ]
    )


def _training(material: Material) -> str:
    """Say how the networks are trained."""
    config = material.study.datasets[BALANCED]
    rules: dict[str, list[str]] = {}
    for name in (*CLAIMS, "dynamic_vit_pruned"):
        own = material.recipe(name)
        rule = (
            f"{own.optimizer.name}, rate {own.optimizer.learning_rate:g}, weight decay "
            f"{own.optimizer.weight_decay:g}, label smoothing {own.label_smoothing:g}, "
            f"batches of {own.batch_size}; {_augmentation(own)}"
        )
        title = CLAIMS[name].title if name in CLAIMS else PRUNED
        rules.setdefault(rule, []).append(title)
    recipe = listed([f"{joined(of)}: {rule}" for rule, of in rules.items()])
    test = "The last network, not the best on validation, is tested."
    if config.checkpoint.evaluate == "best":
        test = "The best network on validation is tested, as in the original."
    return f"{recipe}\n\n{prose(f'Schedule: {config.schedule.name}. {test}')}"


def _augmentation(config: ConfigDict) -> str:
    """Say how a recipe alters images, by its settings."""
    usual = default_config().augmentation
    altered = [
        key if value is True else f"{key} {value}"
        for key, value in sorted(config.augmentation.items())
        if value != usual[key]
    ]
    return f"images altered by {joined(altered)}" if altered else "images as they are"
