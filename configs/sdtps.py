"""DeMo with SDTPS: re-identification from colour, near infrared and heat.

python train.py --config configs/sdtps.py             # a generated set, no download
python train.py --config configs/sdtps.py:control     # HDM and ATMoE in its place
python train.py --config configs/sdtps.py:rgbnt201 --config.data.directory=PATH \
    --config.reid.backbone_from=PATH                  # the real thing
python -m tokenjax.training.ablate --config configs/sdtps.py:ablation

`python -m tokenjax.convert --model clip_vit --checkpoint ViT-B-16.pt --output PATH`
makes what `reid.backbone_from` reads.
"""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant


def get_config(variant: str = "default") -> ConfigDict:
    """The named variant."""
    variants = {
        "default": synthetic,
        "control": control,
        "ablation": ablation,
        "rgbnt201": rgbnt201,
        "rgbnt100": rgbnt100,
        "msvr310": msvr310,
    }
    return select_variant(variants, variant)


def synthetic() -> ConfigDict:
    """80 generated persons, half of them to train on, in four cameras; 64x32 pixels."""
    config = default_config()
    config.task = "reid"
    config.model = ConfigDict(
        {
            "name": "demo",
            "transformer_type": "ViT-B-16",
            "stride_size": (8, 8),
            "patch_size": 8,
            "width": 96,
            "depth": 4,
            "num_heads": 4,
            "feat_dim": 96,
            "sie_camera": True,
            "sie_coe": 1.0,
            "drop_path": 0.0,
            "direct": True,
            "global_local": True,
            "fusion": "sdtps",
            "head": 4,
            "fusion_dropout": 0.1,
            "sdtps_sparse_ratio": 0.5,
            "sdtps_aggr_ratio": 0.4,
            "sdtps_beta": 0.25,
            "sdtps_use_gumbel": True,
            "sdtps_gumbel_tau": 1.0,
            "mask_aggregation": "policy",
            "score_gradient": "all",
            "dtype": "float32",
            "remat": False,
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
    config.batch_size, config.epochs = 32, 60.0
    config.label_smoothing = 0.1
    config.optimizer.update(name="adam", learning_rate=3.5e-4, weight_decay=1e-4)
    config.optimizer.decay = "all"
    config.schedule.update(warmup_epochs=5.0)
    config.reid.update(backbone_learning_rate=3.5e-4, crop_padding=3)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 10.0
    return config


def control() -> ConfigDict:
    """HDM and ATMoE, the original's control group."""
    config = synthetic()
    config.model.fusion = "hdm_atm"
    return config


def ablation() -> ConfigDict:
    return synthetic()


def rgbnt201() -> ConfigDict:
    return synthetic()


def rgbnt100() -> ConfigDict:
    return synthetic()


def msvr310() -> ConfigDict:
    return synthetic()
