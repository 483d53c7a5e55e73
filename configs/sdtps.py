"""DeMo with SDTPS: re-identification from colour, near infrared and heat.

python train.py --config configs/sdtps.py             # a generated set, no download
python train.py --config configs/sdtps.py:control     # HDM and ATMoE in its place
python train.py --config configs/sdtps.py:rgbnt201 --config.data.directory=PATH \\
    --config.reid.backbone_from=PATH                  # the real thing
python train.py --config configs/sdtps.py:rgbnt201_recorded ...   # DeMo_SDTPS.yml
python train.py --config configs/sdtps.py:rgbnt201_no_gumbel ...  # without its noise
python -m tokenjax.study --config configs/sdtps.py:ablation   # why training failed
python -m tokenjax.study --config configs/sdtps.py:fused      # what makes SDTPS help

`python -m tokenjax.convert --model clip_vit --checkpoint ViT-B-16.pt --output PATH`
makes what `reid.backbone_from` reads.

On two cores of an AMD EPYC, float32, seed 0, beside other work (docs/results.md):

    default   mAP 86.3 %, rank-1 94.6 % of persons not trained on   8 min 18 s
              (a random ranking: 3.1 % and 1.9 %)

The real sets have not been trained on here.
"""

from typing import Any

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant


def get_config(variant: str = "default") -> ConfigDict:
    """The named variant."""
    variants = {
        "default": synthetic,
        "control": control,
        "ablation": ablation,
        "fused": fused,
        "rgbnt201": rgbnt201,
        "rgbnt201_recorded": rgbnt201_recorded,
        "rgbnt201_no_gumbel": rgbnt201_no_gumbel,
        "rgbnt100": rgbnt100,
        "msvr310": msvr310,
    }
    return select_variant(variants, variant)


def synthetic() -> ConfigDict:
    """80 generated persons, half of them to train on, in four cameras; 64x32 pixels.

    200 epochs: mAP 86 %, rank-1 95 % on persons never seen in training, where a random
    ranking reaches 3 % and 2 %.
    """
    config = default_config()
    config.task = "reid"
    config.model = ConfigDict(
        {
            "name": "demo",
            "stride_size": (8, 8),
            "patch_size": 8,
            "width": 96,
            "depth": 4,
            "num_heads": 4,
            "feat_dim": 96,
            "drop_path": 0.0,
            "fusion": "sdtps",
            "sdtps_sparse_ratio": 0.5,
            "sdtps_aggr_ratio": 0.4,
            "sdtps_use_gumbel": True,
            "mask_aggregation": "policy",
            "score_gradient": "all",
        }
    )
    config.data = ConfigDict(
        {
            "source": "synthetic_reid",
            "directory": "runs/data/synthetic_reid",
            "identities": 80,
            "seed": 0,
            "height": 64,
            "width": 32,
            "validation_identities": 8,
        }
    )
    config.batch_size, config.epochs = 32, 200.0
    config.label_smoothing = 0.1
    config.optimizer.update(name="adam", learning_rate=3.5e-4, weight_decay=1e-4)
    config.optimizer.decay = "all"
    config.schedule.update(warmup_epochs=5.0)
    config.reid.update(backbone_learning_rate=3.5e-4, crop_padding=3)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 20.0
    return config


def control() -> ConfigDict:
    """HDM and ATMoE, the original's control group."""
    config = synthetic()
    config.model.fusion = "hdm_atm"
    return config


def ablation() -> ConfigDict:
    """What made the original's training fail, one cause at a time.

    Its base lets all similarities carry a gradient and has the mask of ordinary size.
    Without Gumbel noise no mask carries one, whichever way it enters.
    """

    def sdtps(score_gradient: str, mask: str, **more: Any) -> dict[str, Any]:
        model = {"score_gradient": score_gradient, "mask_aggregation": mask}
        return {"model": model | more}

    half = {"dtype": "bfloat16"}
    no_gumbel = {"sdtps_use_gumbel": False}
    relaxed = {"sdtps_sparse_ratio": 0.7, "sdtps_aggr_ratio": 0.5}
    direct_first = {"reid": {"direct_only_epochs": 8.0}}
    variants = {
        "control (HDM, ATMoE)": {"model": {"fusion": "hdm_atm"}},
        "direct alone": {"model": {"fusion": "none"}},
        "scores self, mask policy": sdtps("self", "policy"),
        "scores none, mask policy": sdtps("none", "policy"),
        "scores all, mask recorded": sdtps("all", "recorded"),
        "scores self, mask recorded": sdtps("self", "recorded"),
        "scores none, mask recorded": sdtps("none", "recorded"),
        "scores all, mask none": sdtps("all", "none"),
        "ratios 0.7, 0.5": {"model": relaxed},
        "ratios 0.7, 0.5, mask recorded": sdtps("all", "recorded", **relaxed),
        "direct first": direct_first,
        "direct first, mask recorded": sdtps("all", "recorded") | direct_first,
        "scores all, no Gumbel": sdtps("all", "recorded", **no_gumbel),
        "scores self, no Gumbel": sdtps("self", "recorded", **no_gumbel),
        "scores none, no Gumbel": sdtps("none", "recorded", **no_gumbel),
        "bf16 all, policy": sdtps("all", "policy", **half),
        "bf16 none, policy": sdtps("none", "policy", **half),
        "bf16 all, recorded": sdtps("all", "recorded", **half),
        "bf16 none, recorded": sdtps("none", "recorded", **half),
    }
    gradients = "gradient_backbone", "gradient_fusion", "gradient_heads"
    return vary(variants, "mAP", "rank1", "mAP_direct", "mAP_fused", *gradients)


def fused() -> ConfigDict:
    """What it takes for SDTPS's feature to be worth its loss, beside direct alone.

    Its base is that of `ablation`, and so are its first 300 steps:
    --config.steps=1200 asks what is left of it later.
    """
    no_triplet = {"fused_triplet_weight": 0.0}
    layer = {"sdtps_join": "reduced_tokens"}
    variants = {
        "direct alone": {"model": {"fusion": "none"}},
        "fused weight 0.05": {"reid": {"fused_weight": 0.05}},
        "layer": {"model": layer},
        "no fused triplet": {"reid": no_triplet},
        "no fused triplet, layer": {"reid": no_triplet, "model": layer},
    }
    return vary(variants, "mAP_fused", "mAP_direct", "mAP", "gradient_backbone")


def vary(variants: dict[str, Any], *columns: str) -> ConfigDict:
    """Vary 300 steps of `synthetic` at a high learning rate; columns of the table."""
    config = synthetic()
    config.epochs = 0.0
    config.steps = 300
    config.optimizer.learning_rate = config.reid.backbone_learning_rate = 1e-3
    config.schedule.update(warmup_epochs=4.0)
    config.data.validation_identities = 0
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 20.0
    config.log_every_steps = 5
    config.reid.missing_modalities = False
    config.ablation = ConfigDict(
        {
            "grid": "named",
            "variants": ConfigDict(variants, allow_dotted_keys=True),
            "seeds": (0, 1, 2),
            "columns": (*columns, "minutes"),
            "latency_batch_size": 0,
        }
    )
    return config


def rgbnt201() -> ConfigDict:
    """CLIP ViT-B/16 at 256x128, 88.6 M parameters, DeMo's own batch of 64.

    Convert CLIP's weights first (see the head of this file).
    """
    config = synthetic()
    config.model.update(stride_size=(16, 16), patch_size=16, width=768, depth=12)
    config.model.update(num_heads=12, feat_dim=512)
    config.data = ConfigDict(
        {
            "source": "rgbnt201",
            "directory": "",
            "height": 256,
            "width": 128,
            "validation_identities": 0,
        }
    )
    config.batch_size, config.epochs = 64, 50.0
    config.reid.update(instances=8, crop_padding=10, backbone_learning_rate=5e-6)
    config.schedule.update(warmup_epochs=10.0)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 1.0
    config.checkpoint.evaluate = "best"
    return config


def rgbnt201_recorded() -> ConfigDict:
    """DeMo_SDTPS.yml to the letter: batches of 2 persons with 4 images, warm-up of 3.

    With Gumbel noise its mask enters the aggregation times 1e10, which keeps training
    from succeeding (docs/results.md).
    """
    config = rgbnt201()
    config.batch_size, config.reid.instances = 8, 4
    config.schedule.update(warmup_epochs=3.0)
    config.model.mask_aggregation = "recorded"
    config.reid.update(
        warmup_start="recorded", learning_rate_noise=True, aligned_augmentation=False
    )
    return config


def rgbnt201_no_gumbel() -> ConfigDict:
    """DeMo_SDTPS.yml as its authors had it later, with SDTPS_USE_GUMBEL: False."""
    config = rgbnt201_recorded()
    config.model.sdtps_use_gumbel = False
    return config


def rgbnt100() -> ConfigDict:
    """Vehicles, 128x256, eight cameras; a score for each modality."""
    config = rgbnt201()
    config.data.update(source="rgbnt100", height=128, width=256)
    config.model.update(direct=False, head=8)
    config.batch_size, config.epochs, config.reid.instances = 128, 30.0, 16
    config.schedule.update(warmup_epochs=5.0)
    return config


def msvr310() -> ConfigDict:
    """Vehicles, 128x256, matches of one scene left out."""
    config = rgbnt201()
    config.data.update(source="msvr310", height=128, width=256)
    config.model.update(direct=False, head=8)
    config.batch_size, config.reid.instances = 64, 4
    return config
