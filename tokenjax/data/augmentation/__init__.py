"""Augmentation of batches on the device."""

from tokenjax.data.augmentation.mixing import Mixed, mix
from tokenjax.data.augmentation.modality_augmentation import augment_modalities
from tokenjax.data.augmentation.pipeline import Augmentation, augment, normalize

__all__ = ["Augmentation", "Mixed", "augment", "augment_modalities", "mix", "normalize"]
