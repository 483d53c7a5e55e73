"""Photos for measuring: pieces of scikit-learn's two, as JPEG files of a usual size."""

import pathlib

import numpy as np
from tqdm import tqdm

WIDTH, HEIGHT = 500, 375  # what ImageNet's have on average
QUALITY = 90
CLASSES = ("building", "flower")  # what the two photos show


def write_folder(directory: pathlib.Path, count: int) -> None:
    """Write `count` different photos, as class/number.jpg, the same ones every time.

    Each is a piece of one of the two, of random size and place, resized, perhaps turned
    over, brighter or darker.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(array) for array in load_sample_images().images]
    random = np.random.default_rng(0)
    for name in CLASSES:
        (directory / name).mkdir(parents=True)
    for number in tqdm(range(count), "photos", unit="image", delay=1, leave=False):
        photo = photos[number % len(photos)]
        share = random.uniform(0.6, 1.0)
        width = int(share * photo.width)
        height = min(int(width * HEIGHT / WIDTH), photo.height)
        left = random.integers(0, photo.width - width + 1)
        top = random.integers(0, photo.height - height + 1)
        box = (left, top, left + width, top + height)
        piece = photo.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, box)
        if random.random() < 0.5:
            piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        light = random.uniform(0.7, 1.3)
        piece = piece.point(lambda value, light=light: min(int(value * light), 255))
        name = CLASSES[number % len(CLASSES)]
        piece.save(directory / name / f"{number:06d}.jpg", quality=QUALITY)
