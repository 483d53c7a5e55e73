"""Token reduction on a trained ViT: fine-tuned with fewer tokens, method by method.

python train.py --config configs/reduce.py:dense        # what the others start from
python train.py --config configs/reduce.py:dynamicvit
python train.py --config configs/reduce.py:tome

The variants: `tome`, `pitome` (similar tokens merge), `topk`, `evit` (what the class
token attends to stays; the rest is dropped, or fused), `dynamicvit` (networks learn
what is not needed, distilled from `dense`), `diffrate` (the network stands still; how
many tokens each block keeps is searched, and said at the end).

Networks start from runs/reduce-dense; another one, of any size and data, by

    --config.init_from=RUN --config.model.name=from_weights      all but `dynamicvit`
    --config.distillation.teacher=RUN                            `dynamicvit`

and what is reduced by --config.model.reduction=NAME:key=value,... as in bench.py.
Without any fine-tuning: eval.py --workdir runs/reduce-dense \
    --config.model.reduction=tome:r=8 --changes=reduction

`dynamicvit` has the published recipe (arXiv 2106.02034): the network at a hundredth of
the predictors' rate, after a sixth of the run in which it stands still; ratio loss 2,
distillation 0.5 and 0.5, of classes and of the tokens kept. There cls_token and
pos_embed never learn: --config.optimizer.freeze="('cls_token','pos_embed')".

On one core of an AMD EPYC, busy with other work, float32, seed 0:

    dense   99.72 % of 359 test images   6 min
    tome    99.72 %, 64 tokens to 16     2 min 50 s
"""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant

DENSE = "runs/reduce-dense"
PLACES = "(2,4,6)"  # blocks where methods with few places reduce
# All that a network has but what judges its tokens.
NETWORK = (
    *("patch_embed", "cls_token", "pos_embed"),
    *("norm1", "attn", "norm2", "mlp", "norm", "head"),
)
KEPT = "(1,1,0.7,1,0.7,1,0.7,1)"  # of the tokens that each block finds


def get_config(variant: str = "dynamicvit") -> ConfigDict:
    """The named variant."""
    variants = {
        "dense": dense,
        "default": dynamicvit,
        "dynamicvit": dynamicvit,
        "tome": lambda: tuned("tome:r=6"),
        "pitome": lambda: tuned("pitome:ratio=0.9"),
        "topk": lambda: tuned(f"topk:keep_rate={KEPT}"),
        "evit": lambda: tuned(f"evit:keep_rate={KEPT}"),
        "diffrate": diffrate,
    }
    return select_variant(variants, variant)


def dense() -> ConfigDict:
    """8x8 digits of scikit-learn, enlarged: 64 tokens, 8 blocks of width 64."""
    config = default_config()
    config.model = ConfigDict(
        {
            "name": "vit_tiny_patch16",
            "patch_size": 4,
            "embed_dim": 64,
            "depth": 8,
            "num_heads": 2,
            "mlp_ratio": 2.0,
        }
    )
    config.data = ConfigDict({"source": "digits", "image_size": 32})
    config.augmentation.update(rotation=15.0, scale=0.15, shift=4.0)
    config.batch_size, config.epochs = 64, 40.0
    config.label_smoothing = 0.1
    config.optimizer.update(name="muon", learning_rate=2e-3, weight_decay=0.05)
    config.schedule.update(warmup_epochs=2.0)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 5.0
    return config


def tuned(reduction: str) -> ConfigDict:
    """The same network with fewer tokens, from its weights; cross-entropy alone."""
    config = dense()
    config.init_from, config.init_changes = DENSE, ("reduction",)
    config.model.reduction = reduction
    config.epochs = 10.0
    config.optimizer.update(name="adamw", learning_rate=2e-4)
    config.schedule.update(warmup_epochs=0.0)
    return config


def dynamicvit() -> ConfigDict:
    """64 tokens, of which 44, 31 and 21 are left."""
    config = dense()
    config.task = "pruning"
    config.model.reduction = (
        f"dynamicvit:pruning_loc={PLACES},token_ratio=(0.7,0.49,0.343)"
    )
    config.distillation.teacher = DENSE
    config.epochs = 30.0
    config.optimizer.update(name="adamw", learning_rate=1e-3)
    config.optimizer.update(network_rate=0.01, network_after_epochs=5.0)
    config.schedule.update(warmup_epochs=5.0)
    return config


def diffrate() -> ConfigDict:
    """A search for 0.0135 of 0.0216 GFLOPs, multiply-adds as the paper counts them.

    The published weight of the FLOPs' loss, 5, is for networks of 4.6 GFLOPs; it goes
    with the square.
    """
    weight = round(5 * (4.6 / 0.0216) ** 2)
    config = tuned(f"diffrate:search=True,target_gflops=0.0135,flops_weight={weight}")
    config.optimizer.update(learning_rate=0.1, weight_decay=0.0, freeze=NETWORK)
    config.schedule.minimum_learning_rate = 0.01
    config.label_smoothing = 0.0
    return config
