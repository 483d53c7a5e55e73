"""Token reduction on one ViT: accuracy over measured time, beside smaller networks.

python -m tokenjax.study --config configs/study_reduction.py --jobs 1

A ViT learns Fashion-MNIST on 49 tokens, and goes on from there on 196 (the images at
twice the side). Every method reduces its tokens at three budgets off the shelf, which
trains nothing, and on 196 tokens at two fine-tuned a little. Against them stand
networks of fewer blocks, trained as the whole one was. Three seeds. Then all are timed
in turns at batches of 1, 8 and 64 (section `uses`); for that part the machine is best
left alone: delete uses/latency-*.json of the study's directory and give the command
again. The same command goes on where it was cut.

Time alone, of ImageNet's networks with random weights:

python bench.py --models vit_small_patch16,vit_base_patch16 --image_size 384 \
    --reduction none,tome:r=13,pitome:ratio=0.9,evit:keep_rate=0.7 --batch_size 1,8
"""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant

DEPTH = 8
RIVAL_DEPTHS = (5, 3)
SEEDS = (0, 1, 2)
TEST_PER_CLASS = 200  # images: evaluating all of them would take as long as training
PLACES = (2, 4, 6)  # blocks where methods with few places reduce
BUDGETS = ("light", "middle", "strong")  # about 3/4, 3/5 and 1/2 of the tokens' sum
KEPT = {"light": 0.8, "middle": 0.65, "strong": 0.5}  # at each place
KEPT_EARLY = {"light": 0.83, "middle": 0.69, "strong": 0.55}  # before its attention
RATIO = {"light": 0.9, "middle": 0.865, "strong": 0.81}  # in each block, of PiToMe
DROPPED = {"light": 0.93, "middle": 0.885, "strong": 0.835}  # the same of ToFu
REMOVED = {49: (3, 5, 6), 196: (12, 18, 24)}  # in each block
UNTUNED = ("ToFu", "ATS")  # on 196 tokens, off the shelf alone
TUNED_BUDGETS = ("middle", "strong")  # the light one costs next to nothing untrained
TUNED = {  # on 196 tokens, from the whole network's weights
    "steps": 48,
    "batch_size": 32,
    "optimizer": {"name": "adamw", "learning_rate": 2e-4, "weight_decay": 1e-4},
    "schedule": {"warmup_epochs": 0.0},
}
RARELY = 1e6  # epochs: at the end alone


def get_config(variant: str = "default") -> ConfigDict:
    """What to run: variants x seeds, and what their weights are used for."""
    return select_variant({"default": full, "smoke": smoke}, variant)


def full() -> ConfigDict:
    """The tables of docs/reduction_study.md."""
    variants = {}
    for tokens in (49, 196):
        for depth in (DEPTH, *RIVAL_DEPTHS):
            variants[dense_name(depth, tokens)] = dense(depth, tokens)
    for depth in (DEPTH, *RIVAL_DEPTHS):
        run = dense_name(depth, 196)
        variants[f"{run}_tuned"] = tuned(run, {"depth": depth})
    for budget in TUNED_BUDGETS:
        for method, spec in tunable(budget).items():
            found = learned(spec) if method == "DynamicViT" else fewer(spec)
            variants[tuned_name(method, budget)] = found
    return ConfigDict(
        {
            "reference": dense_name(DEPTH, 49),
            "seeds": SEEDS,
            "columns": ("top1", "minutes"),
            "latency_batch_size": 0,
            "datasets": {"fashion_mnist": fashion_mnist()},
            "variants": variants,
            "uses": {
                "batch_sizes": (1, 8, 64),
                "reference": f"{DEPTH} blocks",
                "comparisons": {
                    f"{tokens} tokens": uses(tokens) for tokens in (49, 196)
                },
            },
        }
    )


def smoke() -> ConfigDict:
    """A few minutes' worth of the same, to see that it runs."""
    config = full()
    config.seeds = (0,)
    config.datasets.fashion_mnist.data.test_per_class = 4
    for variant in config.variants.values():
        variant.steps = 5
    return config


def dense_name(depth: int, tokens: int) -> str:
    """Return what a network without reduction is called."""
    return f"blocks_{depth}_on_{tokens}"


def dense(depth: int, tokens: int) -> dict:
    """A network without reduction.

    On 49 tokens 1.5 epochs with half of the patches left out of every step; on 196 it
    starts from there and leaves out three quarters, so both see 25 to 50 at a time.
    """
    if tokens == 49:
        return {"model": {"depth": depth, "patch_drop_rate": 0.5}, "epochs": 1.5}
    return {
        "init_from_run": dense_name(depth, 49),
        "data": {"image_size": 56},
        "model": {"depth": depth, "patch_drop_rate": 0.75},
        "epochs": 0.3,
        "optimizer": {"learning_rate": 1.5e-3},
    }


def tuned(run: str, model: dict) -> dict:
    """A network that goes on from another's weights, all patches in every step."""
    start = {"init_from_run": run, "data": {"image_size": 56}}
    return start | {"model": {"patch_drop_rate": 0.0} | model} | TUNED


def fewer(spec: str) -> dict:
    """The whole network fine-tuned with a reduction."""
    changes = {"init_changes": ("reduction",)}
    return tuned(dense_name(DEPTH, 196), {"reduction": spec}) | changes


def learned(spec: str) -> dict:
    """DynamicViT's predictors learned, the whole network as teacher and start.

    In so few steps the network learns as fast as with the other methods.
    """
    found = fewer(spec)
    del found["init_changes"]
    found["teacher_run"] = found.pop("init_from_run")
    rates = {"learning_rate": 1e-3, "network_rate": 0.2}
    return found | {"task": "pruning", "optimizer": found["optimizer"] | rates}


def tuned_name(method: str, budget: str) -> str:
    """Return what a method's fine-tuned network is called."""
    return f"{method}_{budget}_tuned"


def uses(tokens: int) -> dict:
    """The networks alone, then the whole one with every method at every budget.

    On 196 tokens every one of them is there fine-tuned as well.
    """
    found, whole = {}, f"{DEPTH} blocks, tuned"
    for depth in (DEPTH, *RIVAL_DEPTHS):
        run = dense_name(depth, tokens)
        rival = {"run": run, "line": "fewer blocks", "rival": True}
        found[f"{depth} blocks"] = rival
        if tokens == 196:
            again = {"run": f"{run}_tuned", "tuned": True, "against": whole}
            found[f"{depth} blocks, tuned"] = rival | again
    for budget in BUDGETS:
        for method, spec in reductions(budget, tokens).items():
            if tokens == 49 and method in UNTUNED:
                continue
            found[f"{method} {budget}"] = {
                "run": dense_name(DEPTH, tokens),
                "model": {"reduction": spec},
                "line": method,
            }
        if tokens == 49 or budget not in TUNED_BUDGETS:
            continue
        for method in tunable(budget):
            use = {"run": tuned_name(method, budget), "line": method}
            found[f"{method} {budget}, tuned"] = use | {"tuned": True, "against": whole}
    return found


def reductions(budget: str, tokens: int) -> dict[str, str]:
    """The methods that need no training, at one budget: name -> `model.reduction`."""
    removed = REMOVED[tokens][BUDGETS.index(budget)]
    rates = ",".join(str(KEPT[budget] if b in PLACES else 1) for b in range(DEPTH))
    prune, merge = counts(removed, tokens)
    places = ",".join(map(str, PLACES))
    return {
        "ToMe": f"tome:r={removed}",
        "Top-K": f"topk:keep_rate=({rates})",
        "EViT": f"evit:keep_rate=({rates})",
        "PiToMe": f"pitome:ratio={RATIO[budget]}",
        "DiffRate": f"diffrate:prune_kept={prune},merge_kept={merge}",
        "ToFu": f"tofu:ratio={DROPPED[budget]}",
        "ATS": f"ats:reduction_loc=({places}),keep_rate={KEPT_EARLY[budget]}",
    }


def tunable(budget: str) -> dict[str, str]:
    """The methods that are fine-tuned on 196 tokens, as `reductions` has them.

    DynamicViT, whose predictors need many more steps, at one budget.
    """
    ratios = ",".join(f"{KEPT_EARLY[budget] ** place:.4f}" for place in (1, 2, 3))
    places = ",".join(map(str, PLACES))
    found = reductions(budget, 196)
    if budget == "middle":
        spec = f"dynamicvit:pruning_loc=({places}),token_ratio=({ratios})"
        found["DynamicViT"] = spec
    return {method: spec for method, spec in found.items() if method not in UNTUNED}


def counts(removed: int, tokens: int) -> tuple[str, str]:
    """DiffRate's counts of a constant rate: one half pruned, the other merged.

    The class token is counted, and two tokens stay.
    """
    left = [max(tokens + 1 - removed * (block + 1), 2) for block in range(DEPTH)]
    before = [tokens + 1, *left[:-1]]
    pruned = [(a + b) // 2 for a, b in zip(before, left, strict=True)]
    return (
        f"({','.join(map(str, pruned))})",
        f"({','.join(map(str, left))})",
    )


def fashion_mnist() -> ConfigDict:
    """28x28 clothes in patches of 4, width 64, 8 blocks: 270 thousand parameters."""
    config = default_config()
    config.model = ConfigDict(
        {
            "name": "vit_tiny_patch16",
            "patch_size": 4,
            "embed_dim": 64,
            "depth": DEPTH,
            "num_heads": 2,
            "mlp_ratio": 2.0,
            "patch_drop_rate": 0.0,
        }
    )
    config.data = ConfigDict(
        {
            "source": "fashion_mnist",
            "image_size": 28,
            "validation_fraction": 0.02,
            "test_per_class": TEST_PER_CLASS,
        }
    )
    config.augmentation.update(horizontal_flip=True)
    config.label_smoothing = 0.1
    config.batch_size = 64
    config.optimizer.update(name="muon", learning_rate=1.5e-3, weight_decay=0.05)
    config.schedule.update(warmup_epochs=0.1)
    config.figures = False
    config.log_every_steps = 100
    config.evaluate_every_epochs = RARELY
    config.checkpoint.every_epochs = 0.5
    return config
