"""Attributes of a made-up person: looks and clothes, drawn once per identity.

Visible colour, NIR reflectance and heat of a material are drawn apart: a black coat may
be bright in NIR, a pattern may be gone there, and a warm shirt tells nothing of its
colour. All of them come from continuous ranges, so that two identities differ in
many ways, each by a little or by a lot.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

from tokenjax.data.people.person_shapes import Material, Pattern, plain

PATTERNS = ("plain", "hoops", "stripes", "checks", "patch", "yoke")
PATTERN_SHARES = (0.34, 0.15, 0.13, 0.13, 0.13, 0.12)


@dataclass(frozen=True)
class Person:
    """Looks and clothes of one identity. Lengths in statures, shares from 0 to 1."""

    shoulder: float  # half the width
    hip: float
    girth: float  # times the width of limbs and the depth of the trunk
    head: float  # times the usual size
    skin: Material
    hair: Material
    hair_length: float  # below 0.15 bald, above 0.65 down to the shoulders
    upper: Material
    upper_pattern: str
    sleeve: float  # share of the arm that is covered
    hem: float  # height at which the upper garment ends
    lower: Material
    lower_kind: str  # trousers, shorts or skirt
    looseness: float  # of the trousers
    shoes: Material
    hat_kind: str  # none, cap or beanie
    hat: Material
    bag_kind: str  # none, backpack or shoulder
    bag: Material
    bag_side: float  # -1 or 1: the side of a shoulder bag
    bag_size: float


def visible_colour(random: np.random.Generator) -> tuple[float, float, float]:
    """Draw a colour of clothes: often dark or greyish, now and then vivid."""
    hue = float(random.random())
    saturation = float(random.beta(1.1, 1.3))
    value = 0.06 + 0.9 * float(random.beta(1.2, 1.4))
    return colorsys.hsv_to_rgb(hue, saturation, value)


def surface(random: np.random.Generator, coldest: float, warmest: float) -> np.ndarray:
    """Draw (red, green, blue, NIR, heat) of cloth, the three parts independent."""
    colour = visible_colour(random)
    nir = 0.1 + 0.85 * random.random()
    return np.array([*colour, nir, random.uniform(coldest, warmest)], np.float32)


def draw_person(random: np.random.Generator) -> Person:
    """Draw the attributes that belong to a stream of random numbers."""
    upper_pattern = str(random.choice(PATTERNS, p=PATTERN_SHARES))
    lower_kind = str(
        random.choice(("trousers", "shorts", "skirt"), p=(0.66, 0.18, 0.16))
    )
    return Person(
        shoulder=random.uniform(0.1, 0.132),
        hip=random.uniform(0.082, 0.115),
        girth=random.uniform(0.85, 1.25),
        head=random.uniform(0.93, 1.07),
        skin=_skin(random),
        hair=_hair(random),
        hair_length=random.random(),
        upper=_cloth(random, upper_pattern, 0.35, 0.8),
        upper_pattern=upper_pattern,
        sleeve=float(random.choice((0.3, 0.45, 0.97), p=(0.15, 0.25, 0.6))),
        hem=random.uniform(0.4, 0.52),
        lower=_cloth(random, str(random.choice(("plain", "checks"), p=(0.8, 0.2)))),
        lower_kind=lower_kind,
        looseness=random.uniform(0.85, 1.3),
        shoes=plain(surface(random, 0.25, 0.5)),
        hat_kind=str(random.choice(("none", "cap", "beanie"), p=(0.62, 0.22, 0.16))),
        hat=plain(surface(random, 0.35, 0.65)),
        bag_kind=str(
            random.choice(("none", "backpack", "shoulder"), p=(0.4, 0.32, 0.28))
        ),
        bag=plain(surface(random, 0.12, 0.32)),
        bag_side=float(random.choice((-1, 1))),
        bag_size=random.uniform(0.8, 1.2),
    )


def _skin(random: np.random.Generator) -> Material:
    light, dark = np.array([0.93, 0.76, 0.65]), np.array([0.33, 0.21, 0.15])
    colour = light + random.beta(1, 1.6) * (dark - light)
    nir, heat = random.uniform(0.58, 0.7), random.uniform(0.9, 1)
    return plain(np.array([*colour, nir, heat], np.float32))


def _hair(random: np.random.Generator) -> Material:
    hue, grey = random.uniform(0.03, 0.11), random.random() < 0.15
    saturation = 0.05 if grey else random.uniform(0.3, 0.7)
    value = random.uniform(0.5, 0.85) if grey else 0.06 + 0.7 * random.beta(1, 2.5)
    colour = colorsys.hsv_to_rgb(hue, saturation, value)
    nir, heat = random.uniform(0.2, 0.75), random.uniform(0.5, 0.7)
    return plain(np.array([*colour, nir, heat], np.float32))


def _cloth(
    random: np.random.Generator,
    pattern: str,
    coldest: float = 0.35,
    warmest: float = 0.75,
) -> Material:
    first = surface(random, coldest, warmest)
    second = surface(random, coldest, warmest)
    # A second colour that can be told from the first: darker if that is light.
    if abs(first[:3].mean() - second[:3].mean()) < 0.25:
        second[:3] += -0.4 if first[:3].mean() > 0.45 else 0.4
        second = np.clip(second, 0, 1)
    second[4] = first[4]  # one cloth, one warmth
    if random.random() < 0.5:  # the dye does not show in NIR
        second[3] = first[3]
    period = random.uniform(0.045, 0.1)
    return Material(first, second, _pattern(pattern, float(period)))


def _pattern(name: str, period: float) -> Pattern | None:
    """Return the named pattern; its `along` runs down the garment.

    "patch" is a shape of its own (person_drawing).
    """

    def wave(position: np.ndarray) -> np.ndarray:
        return np.clip(2.5 * np.cos(2 * np.pi / period * position) + 0.5, 0, 1)

    patterns: dict[str, Pattern] = {
        "hoops": lambda along, across: wave(along),
        "stripes": lambda along, across: wave(across),
        "checks": lambda along, across: (
            0.5 * (wave(along) + wave(across))  # half where one band runs, as in cloth
        ),
        "yoke": lambda along, across: np.clip((0.09 - along) / 0.01 + 0.5, 0, 1),
    }
    return patterns.get(name)
