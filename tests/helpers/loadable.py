"""Weights with a card beside them, and pictures, for what loads and predicts."""

from helpers.drawn_variables import drawn_variables
from PIL import Image

from tokenjax import card as cards
from tokenjax import models, storage
from tokenjax.card import Card, Images

CLASSES = ("bee", "cat", "dog", "eel", "fox", "gnu", "hen")
# Sizes, modes and formats that pictures come in.
KINDS = (
    ("RGB", (40, 30), "jpg"),
    ("L", (17, 23), "png"),
    ("RGBA", (64, 64), "png"),
    ("P", (33, 12), "png"),
)
IMAGES = Images(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def save_weights(directory, name, module, **card):
    """Write a converted checkpoint with random weights and its card."""
    variables = drawn_variables(module, *module.example_inputs(1))
    storage.save_variables(directory, variables, {"model": {"name": name}})
    described = {"name": name, **models.values(module)}
    cards.write(directory, Card(**{"model": described, "images": IMAGES, **card}))
    return directory


def save_pictures(root, classes=CLASSES, each=4):
    """Write noise as pictures of all kinds, a folder per class; return their paths."""
    paths = []
    for number, name in enumerate(classes):
        for index in range(each):
            mode, size, ending = KINDS[(number + index) % len(KINDS)]
            path = root / name / f"{index}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = Image.effect_noise(size, 80).convert("RGB").rotate(7 * number)
            noise.convert(mode).save(path)
            paths.append(path)
    return paths
