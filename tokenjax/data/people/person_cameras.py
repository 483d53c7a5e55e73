"""Cameras with three sensors each: from a painted scene to what is recorded of it.

    RGB = clip(contrast(reflectance * gain * colour temperature * vignette) + noise)
    NI  = clip(NIR reflectance * lamp * vignette + noise)       grey, three times
    TI  = iron(clip(blur(heat) * gain + offset + noise))        false colour

A camera keeps its viewpoint, white balance, noise and palette in all of its pictures;
light, crop and the noise itself are drawn for each. At night the RGB sensor sees next
to nothing: the lamp of the NIR sensor and heat do not mind. The three pictures show
the same points.
"""

from dataclasses import dataclass

import numpy as np

from tokenjax.data.people.clutter_drawing import Palette, draw_palette
from tokenjax.data.people.person_shapes import Canvas

# Front, back, and two oblique views; cameras beyond the fourth repeat them.
VIEWS = (0.0, np.pi, 0.75, np.pi + 0.75)
NIGHT_SHARE = 0.15
# Knots of the false colours of heat: black, violet, red, orange, yellow, white.
IRON = np.array(
    [
        [0, 0, 12],
        [70, 0, 120],
        [175, 25, 110],
        [235, 100, 25],
        [252, 195, 40],
        [255, 252, 225],
    ],
    np.float32,
)


@dataclass(frozen=True)
class Camera:
    """Traits that all pictures of one camera have in common."""

    yaw: float  # from which side it sees people
    view_height: float  # of the picture, in statures
    shift: float  # of people to the right, in statures
    shear: float
    balance: np.ndarray  # (3,) white balance
    noise: float  # standard deviation, of 0..1
    gain: float
    heat_gain: float
    heat_offset: float
    palette: Palette


def draw_camera(random: np.random.Generator, number: int) -> Camera:
    """Draw the traits of camera `number`, from 0."""
    return Camera(
        yaw=VIEWS[number % len(VIEWS)] + random.normal(0, 0.12),
        view_height=random.uniform(1.08, 1.16),
        shift=random.normal(0, 0.015),
        shear=random.normal(0, 0.035),
        balance=np.exp(random.normal(0, 0.05, 3)).astype(np.float32),
        noise=random.uniform(0.01, 0.028),
        gain=random.uniform(0.85, 1.15),
        heat_gain=random.uniform(0.8, 0.92),
        heat_offset=random.uniform(-0.02, 0.05),
        palette=draw_palette(random),
    )


def aim(camera: Camera, random: np.random.Generator, height: int, width: int) -> Canvas:
    """Return an empty canvas: the points that one picture of `camera` shows."""
    pixel = camera.view_height * random.uniform(0.96, 1.05) / height
    ground = (0.045 + random.normal(0, 0.015)) * camera.view_height
    shift = camera.shift + random.normal(0, 0.018)
    shear = camera.shear + random.normal(0, 0.012)
    y = ((height - np.arange(height) - 0.5) * pixel - ground).astype(np.float32)
    x = ((np.arange(width) + 0.5 - width / 2) * pixel - shift).astype(np.float32)
    grid = x[None, :] + np.float32(shear) * (y[:, None] - 0.5)
    return Canvas(grid, y, pixel, light=random.uniform(-0.5, 0.5))


def record(
    canvas: Canvas, camera: Camera, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Record RGB, NI and TI of what is painted, uint8 (height, width, 3) each."""
    folds = 1 + 0.09 * _smooth_noise(random, canvas.x.shape, cells=14)[..., None]
    light = canvas.values[..., :4] * folds
    # About one pixel of blur at a height of 128.
    sharpness = canvas.x.shape[0] / 128
    return {
        "RGB": _visible(light[..., :3], camera, random, sharpness),
        "NI": _near_infrared(light[..., 3], camera, random, sharpness),
        "TI": _thermal(canvas.values[..., 4], camera, random, sharpness),
    }


def _visible(
    light: np.ndarray, camera: Camera, random: np.random.Generator, sharpness: float
) -> np.ndarray:
    night = random.random() < NIGHT_SHARE
    gain = camera.gain * np.exp(random.normal(0, 0.14))
    gain *= np.exp(random.uniform(-2.8, -1.3)) if night else 1.0
    warmth = random.normal(0, 0.06)
    balance = camera.balance * np.exp([warmth, 0, -warmth])
    image = _blur(light, random.uniform(0.3, 0.65) * sharpness)
    image = image * (gain * balance).astype(np.float32)
    image *= _vignette(light.shape[:2], random, 0.35)[..., None]
    contrast = random.uniform(0.8, 1.2)
    image = image.mean() + contrast * (image - image.mean())
    noise = camera.noise * (1.4 if night else 1.0)
    return _to_bytes(image + noise * random.standard_normal(image.shape, np.float32))


def _near_infrared(
    light: np.ndarray, camera: Camera, random: np.random.Generator, sharpness: float
) -> np.ndarray:
    image = _blur(light, random.uniform(0.4, 0.75) * sharpness)
    image = image * random.uniform(0.7, 1.15)
    image *= _vignette(light.shape, random, 0.5)  # the lamp sits at the camera
    grain = random.standard_normal(image.shape, np.float32)
    return _to_bytes(np.repeat((image + 1.2 * camera.noise * grain)[..., None], 3, 2))


def _thermal(
    heat: np.ndarray, camera: Camera, random: np.random.Generator, sharpness: float
) -> np.ndarray:
    drift = 0.05 * _smooth_noise(random, heat.shape, cells=4)
    image = _blur(heat, random.uniform(1.0, 1.4) * sharpness)
    image = image * camera.heat_gain * random.uniform(0.92, 1.08)
    image += camera.heat_offset + random.normal(0, 0.02) + drift
    columns = random.standard_normal((1, heat.shape[1]), np.float32)
    grain = random.standard_normal(heat.shape, np.float32)
    image = np.clip(image + 0.008 * columns + 0.012 * grain, 0, 1)
    knots = np.linspace(0, 1, len(IRON))
    colours = [np.interp(image, knots, channel) for channel in IRON.T]
    return np.rint(np.stack(colours, axis=-1)).astype(np.uint8)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _vignette(
    shape: tuple[int, ...], random: np.random.Generator, most: float
) -> np.ndarray:
    """Return light that is 1 at some point near the middle, darker away from it."""
    height, width = shape
    row, column = random.uniform(-0.3, 0.3, 2)
    y = (np.linspace(-1, 1, height, dtype=np.float32) - np.float32(row))[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32) - np.float32(column)
    return 1 - np.float32(random.uniform(0, most)) * np.minimum(y * y + x * x, 2) / 2


def _smooth_noise(
    random: np.random.Generator, shape: tuple[int, ...], cells: int
) -> np.ndarray:
    """Draw normal noise at `cells` points down the picture, interpolated between."""
    height, width = shape
    across = max(2, round(cells * width / height))
    coarse = random.standard_normal((cells, across), np.float32)
    coarse = _interpolate(coarse, height)
    return _interpolate(coarse.T, width).T


def _interpolate(rows: np.ndarray, length: int) -> np.ndarray:
    """Interpolate (n, m) to (length, m), linearly along the first axis."""
    place = np.linspace(0, len(rows) - 1, length, dtype=np.float32)
    low = np.minimum(place.astype(np.int64), len(rows) - 2)
    share = (place - low)[:, None]
    return rows[low] * (1 - share) + rows[low + 1] * share


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian of `sigma` pixels down and across, borders repeated."""
    reach = max(1, round(2.5 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        pad = [(0, 0)] * image.ndim
        pad[axis] = (reach, reach)
        padded = np.pad(image, pad, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, len(weights), axis=axis
        )
        image = windows @ weights
    return image
