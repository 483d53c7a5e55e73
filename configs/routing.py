"""Attention-guided routing on a digit among fragments of others."""

from ml_collections import ConfigDict

from tokenjax.training import default_config, select_variant


def get_config(variant: str = "default") -> ConfigDict:
    """The named variant."""
    variants = {"default": cluttered}
    return select_variant(variants, variant)


def cluttered() -> ConfigDict:
    config = default_config()
    config.task = "routing"
    config.model = ConfigDict(
        {
            "name": "attention_routing",
            "patch_grid": 4,
            "encoder_channels": 16,
            "encoder_layers": 2,
            "attention": "spatial",
            "attention_layers": 1,
            "router": "learnable_threshold",
            "threshold": 0.5,
            "temperature": 1.0,
            "budget": 0.25,
            "aggregator": "concat",
            "attention_scale": 1.0,
            "dropout": 0.1,
            "mask_gradient": "dense",
            "target_ratio": 0.25,
            "budget_weight": 0.0,
            "big_hidden_dim": 512,
            "big_layers": 3,
            "small_hidden_dim": 64,
            "small_layers": 1,
            "embed_dim": 128,
            "dtype": "float32",
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
            "train_examples": 20000,
            "test_examples": 2000,
            "validation_examples": 1000,
        }
    )
    config.batch_size, config.epochs = 128, 10.0
    config.optimizer.update(name="muon", learning_rate=1e-3, weight_decay=0.05)
    config.evaluate_every_epochs = config.checkpoint.every_epochs = 1.0
    return config
