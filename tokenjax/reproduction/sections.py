"""The report's head, background, architectures and settings."""

from tokenjax.reproduction.budget import PRUNING_SHARE
from tokenjax.reproduction.claims import CLAIMS
from tokenjax.reproduction.differences import LEVEL
from tokenjax.reproduction.jobs import BALANCED, CONDITIONS, IMBALANCED, PRUNED
from tokenjax.reproduction.material import Material, joined, table
from tokenjax.study.plan import StudyRun, run_config

NAMES = {
    "cifar10": "CIFAR-10",
    "fashion_mnist": "Fashion-MNIST",
    "digits": "scikit-learn's digits",
}
MEANINGS = {
    "balanced": "the whole training split",
    "imbalanced": "thinned in a straight line, the last class to a tenth of the first; "
    "no answer",
    "class_weights": "the same; each class's loss times the inverse of its frequency",
    "weighted_sampler": "the same; drawn with replacement, every class equally often",
    "logit_adjustment": "the same; the log of the prior added to the logits in "
    "training (ours: Menon et al., arXiv 2007.07314)",
}
SIZES = ("embed_dim", "depth", "num_heads", "mlp_ratio")


def head(material: Material) -> str:
    """Return the title, and the command that wrote it."""
    plan, where = material.plan, material.costs["environment"]
    seeds = ",".join(map(str, plan.seeds))
    return f"""\
# CIFAR-ViT done again: what of its README holds

    python -m tokenjax reproduce cifar_vit --data {plan.data} \
--budget {plan.budget:g} --seeds {seeds}

This command trained every network below and wrote this report, whole, from what it
measured; it goes on where it was cut. {len(material.runs)} runs on \
{NAMES[plan.data]}, {len(plan.seeds)} seed{"s" if len(plan.seeds) > 1 else ""},
{material.findings.minutes():.0f} minutes of running in all, on {where["hardware"]}
({where["platform"]}), jax {where["jax"]}, flax {where["flax"]}, float32, commit
{where["commit"]}.

Accuracies are means over the seeds ± their sample standard deviation, in percent of
{material.findings.examples():,} test images. "More than the seeds' spread explains" is
said where a t-test over the seeds gives p < {LEVEL:g} (Welch's of two networks, the
paired one of the same network under two answers); with so few seeds it finds large
differences alone, and of many comparisons one in twenty by chance."""


def background() -> str:
    """Return what the original is and claims."""
    return """\
## 1. Background

CIFAR-ViT is a PyTorch program that trains four vision transformers on CIFAR-10 and on
an imbalanced part of it: two plain ones, one that drops patches (DynamicViT) and one
with linear attention (LightweightViT). Its README has a table of parameters, FLOPs,
accuracy and time per image. Read line by line, the program differs from its README:

- the table was not measured: nothing in the program makes it, and its parameters are
  not those of the networks that it builds (section 4.1);
- DynamicViT never drops a patch where it is trained, evaluated or counted, and its
  predictors never receive a gradient: what is called DynamicViT is a plain transformer;
- class weights never act through the documented command, and label smoothing is asked
  for and ignored;
- it speaks of warm-up, mixed precision and gradient accumulation, and has none of them
  (here they are `schedule.warmup_epochs`, `model.dtype` and `gradient_accumulation`)."""


def architectures(material: Material) -> str:
    """Return the networks, as the original builds them and as they were trained."""
    rows = []
    original, trained = material.costs["original"], material.costs["trained"]["1"]
    for name, claim in CLAIMS.items():
        own = _values(material, name)
        rows.append(
            [
                claim.title,
                " / ".join(_ORIGINAL_SIZES[name]),
                f"{original[name]['parameters']:,}",
                " / ".join(f"{own[key]:g}" for key in SIZES),
                f"{trained[name]['parameters']:,}",
            ]
        )
    sizes = "width / depth / heads / MLP ratio"
    headings = ("network", f"original: {sizes}", "parameters")
    headings += (f"trained here: {sizes}", "parameters")
    patches = (material.study.datasets[BALANCED].model.patch_size,)
    scaled = (
        "The networks trained here are the original's own."
        if material.on_cifar
        else "The networks trained here are the original's in small, in about the same "
        f"proportions, so that a budget of minutes trains them; patches of {patches[0]} "
        "pixels."
    )
    return f"""\
## 2. Architectures

All have a class token, learned positions, pre-norm blocks and a linear head.
*vit_base* and *vit_small* attend by softmax, and differ in width and depth. *DynamicViT*
adds predictors that could choose which patches go on; unpruned, as the original runs
it, it is a plain transformer. *LightweightViT* replaces softmax(QKᵀ)V by
relu(Q)(relu(K)ᵀV) over its normaliser, which is linear in the number of tokens.
*{PRUNED}* is ours: predictors that learn, by the original DynamicViT's (Rao et al.,
arXiv 2106.02034) distillation from the unpruned network.

{table(headings, rows)}

{scaled}"""


_ORIGINAL_SIZES = {  # as its factories and yaml files have them
    "vit_base": ("512", "6", "8", "4"),
    "vit_small": ("384", "12", "6", "4"),
    "dynamic_vit": ("384", "6", "6", "4"),
    "linear_vit": ("384", "6", "6", "3"),
}


def _values(material: Material, name: str) -> dict:
    """Return the arguments of a model as it was trained, defaults among them."""
    from tokenjax import models

    run = next(run for run in material.runs if run.variant == name)
    config = _config(material, run).model.to_dict()
    values = {a.name: a.default for a in models.arguments(config["name"]).values()}
    return values | {k: v for k, v in config.items() if v is not None}


def _config(material: Material, run: StudyRun):
    import pathlib

    return run_config(material.study, run, pathlib.Path())


def settings(material: Material) -> str:
    """Return the data, the recipe, the length of the runs."""
    plan, config = material.plan, material.study.datasets[BALANCED]
    rows = [
        [
            name.replace("_", " "),
            MEANINGS[name],
            f"{plan.examples[name]:,}",
            f"{min(plan.counts[name]):,} to {max(plan.counts[name]):,}",
            f"{plan.images / plan.examples[name]:.2f}",
        ]
        for name in CONDITIONS
    ]
    headings = ("condition", "training images are", "how many", "of a class", "epochs")
    optimizers = {}
    for name, claim in CLAIMS.items():
        run = next(run for run in material.runs if run.variant == name)
        own = _config(material, run)
        rule = (
            f"{own.optimizer.name}, rate {own.optimizer.learning_rate:g}, weight decay "
            f"{own.optimizer.weight_decay:g}, label smoothing {own.label_smoothing:g}"
        )
        optimizers.setdefault(rule, []).append(claim.title)
    recipe = "; ".join(f"{joined(of)}: {rule}" for rule, of in optimizers.items())
    augmented = [
        f"{key} {value:g}" if not isinstance(value, bool) else key
        for key, value in sorted(config.augmentation.items())
        if isinstance(value, bool | int | float) and value
    ]
    test = "the last network, not the best on validation, is tested"
    if config.checkpoint.evaluate == "best":
        test = "the best network on validation is tested, as in the original"
    return f"""\
## 3. Settings

{NAMES[plan.data]}; {material.findings.examples():,} test images that are the same, and
balanced, under every condition.

{table(headings, rows)}

{material.figure("classes", "class distribution")}

Every run learns from {plan.images:,} images, whatever its condition, in batches of
{config.batch_size}: as many as the budget of {plan.budget:g} minutes for all runs
bought on this machine, where seconds per step were measured first. {PRUNED} goes on
from its teacher, the unpruned network, with {PRUNING_SHARE:.0%} as many. The seed
decides the initial weights and the order of the images; what {IMBALANCED} leaves out is
the same for all.

{recipe}. Schedule {config.schedule.name}. Augmentation: {joined(augmented) or "none"};
{test}."""
