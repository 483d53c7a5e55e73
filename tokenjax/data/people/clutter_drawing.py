"""Clutter around a person: walls, windows, poles, boxes, signs, cars, passers-by.

Nothing here knows who the person in the middle is: a scene is drawn from random
numbers that no attribute of theirs is drawn from, and from the palette of its camera.
Things have a colour, an NIR reflectance and a heat as clothes have: bushes are bright
in NIR, bonnets of cars and other people are warm.
"""

from dataclasses import dataclass

import numpy as np

from tokenjax.data.people.person_attributes import draw_person, surface
from tokenjax.data.people.person_drawing import paint_person
from tokenjax.data.people.person_shapes import Canvas, Shape, box, ellipse, plain
from tokenjax.data.people.person_skeleton import draw_pose


@dataclass(frozen=True)
class Palette:
    """Wall and ground before a camera, which its pictures have in common."""

    wall: np.ndarray  # (CHANNELS,)
    ground: np.ndarray
    horizon: float  # height of the edge between them, in statures


def draw_palette(random: np.random.Generator) -> Palette:
    """Draw muted walls and grounds, colder than people."""
    wall, ground = surface(random, 0.18, 0.28), surface(random, 0.2, 0.32)
    for part in (wall, ground):
        tint = part[:3] - part[:3].mean()
        part[:3] = random.uniform(0.38, 0.55) + 0.18 * tint
        part[3] = 0.3 + 0.3 * part[3]
    return Palette(wall, ground, random.uniform(0.15, 0.42))


def muted_surface(
    random: np.random.Generator, coldest: float, warmest: float
) -> np.ndarray:
    """Draw a surface like cloth, nearer to a middle grey.

    Streets are duller than clothes.
    """
    values = surface(random, coldest, warmest)
    values[:4] = 0.45 + 0.7 * (values[:4] - 0.45)
    values[:3] = 0.4 * values[:3].mean() + 0.6 * values[:3]
    return values


def paint_background(
    canvas: Canvas, palette: Palette, random: np.random.Generator
) -> None:
    """Fill the canvas: wall, ground, and a few things before the wall."""
    horizon = palette.horizon + random.normal(0, 0.03)
    wall = palette.wall * random.uniform(0.75, 1.2)
    ground = palette.ground * random.uniform(0.8, 1.2)
    rise = np.clip(canvas.y - horizon, 0, 1)[:, None]  # (h, 1)
    slope = random.uniform(-0.3, 0.3)
    upper = wall * (1 + slope * (rise - 0.4))
    lower = ground * (1 - 0.5 * np.clip(horizon - canvas.y, 0, 1)[:, None])
    above = np.clip((canvas.y - horizon) / canvas.pixel + 0.5, 0, 1)[:, None]
    rows = above * upper + (1 - above) * lower  # (h, CHANNELS)
    canvas.values[:] = np.clip(rows, 0, 1)[:, None]
    if random.random() < 0.6:
        _paint_windows(canvas, horizon, random)
    things = (_paint_pole, _paint_box, _paint_sign, _paint_car, _paint_bush)
    for _ in range(random.integers(1, 3)):
        things[random.integers(len(things))](canvas, horizon, random)
    if random.random() < 0.35:
        _paint_passer_by(canvas, random)


def paint_foreground(canvas: Canvas, random: np.random.Generator) -> None:
    """Hide a part of the person behind something, now and then."""
    if random.random() > 0.22:
        return
    values = plain(muted_surface(random, 0.1, 0.35))
    kind = random.integers(3)
    if kind == 0:  # a box before the feet
        x, half = random.uniform(-0.3, 0.3), random.uniform(0.06, 0.16)
        canvas.paint(box((x, 0), half, random.uniform(0.1, 0.28)), values)
    elif kind == 1:  # a pole beside the middle
        x = _aside(random, 0.08, 0.25)
        half = random.uniform(0.01, 0.025)
        canvas.paint(box((x, 0.5), half, 0.9), values)
    else:  # a railing
        y = random.uniform(0.1, 0.4)
        rail = Shape((-2, y), (2, y), (0.012, 0.012))
        canvas.paint(rail, values, flat=True)


def _aside(random: np.random.Generator, nearest: float, farthest: float) -> float:
    """Draw a place left or right of the middle."""
    return float(random.choice((-1, 1)) * random.uniform(nearest, farthest))


def _paint_windows(canvas: Canvas, horizon: float, random: np.random.Generator) -> None:
    pane = plain(muted_surface(random, 0.1, 0.4))
    half_width, half_height = random.uniform(0.04, 0.12), random.uniform(0.06, 0.15)
    step, offset = random.uniform(0.25, 0.5), random.uniform(-0.25, 0.25)
    y = horizon + half_height + random.uniform(0.15, 0.45)
    for number in range(-3, 4):
        centre = (offset + number * step, y)
        canvas.paint(box(centre, half_width, half_height), pane, flat=True)


def _paint_pole(canvas: Canvas, horizon: float, random: np.random.Generator) -> None:
    half = random.uniform(0.008, 0.03)
    pole = box((_aside(random, 0.05, 0.4), 0.6 + horizon / 2), half, 0.6)
    canvas.paint(pole, plain(muted_surface(random, 0.1, 0.4)))


def _paint_box(canvas: Canvas, horizon: float, random: np.random.Generator) -> None:
    half, tall = random.uniform(0.05, 0.18), random.uniform(0.08, 0.3)
    centre = (_aside(random, 0.1, 0.45), 0.6 * horizon + tall)
    canvas.paint(
        box(centre, half, tall), plain(muted_surface(random, 0.1, 0.45)), flat=True
    )


def _paint_sign(canvas: Canvas, horizon: float, random: np.random.Generator) -> None:
    x, y = _aside(random, 0.12, 0.4), random.uniform(0.6, 1.0)
    canvas.paint(box((x, y / 2), 0.008, y / 2), plain(muted_surface(random, 0.1, 0.3)))
    half, tall = random.uniform(0.05, 0.12), random.uniform(0.04, 0.1)
    values = muted_surface(random, 0.1, 0.3)
    board = box((x, y), half, tall) if tall < 0.07 else ellipse((x, y), half, half)
    canvas.paint(board, plain(values), flat=True)
    letters = values.copy()
    letters[:4] = (values[:4] + 0.5) % 1
    canvas.paint(box((x, y), 0.6 * half, 0.25 * tall), plain(letters), flat=True)


def _paint_car(canvas: Canvas, horizon: float, random: np.random.Generator) -> None:
    x, y = _aside(random, 0.2, 0.7), 0.5 * horizon + 0.03
    body, tyre = muted_surface(random, 0.15, 0.3), muted_surface(random, 0.35, 0.55)
    glass = np.array([0.15, 0.18, 0.2, 0.25, 0.12], np.float32)
    tyre[:4] = 0.08
    warm = body.copy()
    warm[4] = random.uniform(0.4, 0.8)
    roof = Shape((x, y + 0.38), (x, y + 0.2), (0.22, 0.26, 0.34), rounded=False)
    pane = Shape((x, y + 0.35), (x, y + 0.22), (0.2, 0.24, 0.3), rounded=False)
    canvas.paint(roof, plain(body), flat=True)
    canvas.paint(pane, plain(glass), flat=True)
    canvas.paint(box((x, y + 0.14), 0.62, 0.09), plain(body), flat=True)
    bonnet = x + float(random.choice((-1, 1))) * 0.42
    canvas.paint(box((bonnet, y + 0.15), 0.18, 0.07), plain(warm), flat=True)
    for side in (-0.38, 0.38):
        canvas.paint(ellipse((x + side, y + 0.05), 0.09, 0.09), plain(tyre), flat=True)


def _paint_bush(canvas: Canvas, horizon: float, random: np.random.Generator) -> None:
    x = _aside(random, 0.1, 0.45)
    green = 0.2 + 0.4 * random.random()
    leaves = np.array(
        [0.5 * green, green, 0.35 * green, random.uniform(0.75, 0.95), 0.28], np.float32
    )
    for _ in range(5):
        centre = x + random.normal(0, 0.07), horizon + random.uniform(0, 0.25)
        half = random.uniform(0.05, 0.12)
        canvas.paint(ellipse(centre, half, half), plain(leaves))


def _paint_passer_by(canvas: Canvas, random: np.random.Generator) -> None:
    """Paint someone else, mostly beyond the left or right border."""
    pose = draw_pose(random, random.uniform(0, 2 * np.pi))
    place = (_aside(random, 0.3, 0.42), random.uniform(0.02, 0.14))
    paint_person(canvas, draw_person(random), pose, place, random.uniform(0.75, 1.0))
