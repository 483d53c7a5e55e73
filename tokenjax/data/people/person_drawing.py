"""A person, drawn on a canvas from their attributes, as seen from some side.

The body is a skeleton in three dimensions (see `person_skeleton`); its parts are
painted from the farthest to the nearest. So the face vanishes from behind and the
backpack shows, and a picture at any yaw is of the same person.
"""

import numpy as np

from tokenjax.data.people.person_attributes import Person
from tokenjax.data.people.person_shapes import Canvas, Point, ellipse, plain
from tokenjax.data.people.person_skeleton import Figure, Pose, between, reach

HIP, KNEE, ANKLE = 0.5, 0.275, 0.045  # heights
SHOULDER, WAIST = 0.8, 0.6
UPPER_ARM, FOREARM = 0.17, 0.15
TRUNK_DEPTH = 0.068  # half of it, at girth 1


def paint_person(
    canvas: Canvas, person: Person, pose: Pose, place: Point = (0, 0), size: float = 1
) -> None:
    """Paint `person`, feet at `place`, `size` times as tall as the middle one."""
    figure = Figure(person, pose, place, size)
    _add_legs(figure)
    _add_trunk(figure)
    _add_arms(figure)
    _add_head(figure)
    _add_bag(figure)
    shadow = ellipse((place[0], place[1] + 0.01), 0.17 * size, 0.025 * size)
    canvas.darken(shadow, 0.45)
    for _, shape, material in sorted(figure.parts, key=lambda part: part[0]):
        canvas.paint(shape, material)


def _add_legs(figure: Figure) -> None:
    person = figure.person
    wide = person.girth * (person.looseness if person.lower_kind == "trousers" else 1)
    for side in (-1, 1):
        x, angle = side * person.hip * 0.5, side * figure.pose.stride
        bend = max(0.0, -angle)  # the hind knee bends
        z_knee = (HIP - KNEE) * np.sin(angle)
        z_ankle = z_knee + (KNEE - ANKLE) * np.sin(angle - bend)
        lift = (KNEE - ANKLE) * (1 - np.cos(angle - bend)) * 0.7
        hip, knee = (x, HIP, 0.0), (x * 0.95, KNEE, z_knee)
        ankle = (x * 0.9, ANKLE + lift, z_ankle)
        order = -0.5 + 0.5 * figure.nearness(x, 0.5 * z_ankle)
        bare = person.lower_kind != "trousers"
        shin = person.skin if bare else person.lower
        calf = (0.036 * wide, 0.037 * wide, 0.024 * wide)
        if not bare:
            calf = (0.042 * wide, 0.037 * wide, 0.033 * wide)
        figure.add(order, knee, ankle, calf, shin)
        thigh = (0.056 * wide, 0.052 * wide, 0.043 * wide)
        if person.lower_kind == "shorts":
            thigh = (0.06 * wide, 0.058 * wide, 0.054 * wide)
        figure.add(order + 0.001, hip, knee, thigh, person.lower, rounded=not bare)
        heel, toe = (
            (*ankle[:1], 0.02 + lift, z_ankle),
            (
                ankle[0] * 1.1,
                0.018 + lift,
                z_ankle + 0.07,
            ),
        )
        figure.add(order + 0.002, heel, toe, (0.026, 0.024, 0.018), person.shoes)


def _add_trunk(figure: Figure) -> None:
    person, pose = figure.person, figure.pose
    depth = TRUNK_DEPTH * person.girth
    hips = figure.seen_width(person.hip, depth * 1.1)
    waist = figure.seen_width(0.45 * (person.hip + person.shoulder * 0.95), depth)
    chest = figure.seen_width(person.shoulder * 0.93, depth * 1.1)
    top = figure.seen_width(person.shoulder, depth * 0.8)
    pelvis = (waist * 0.97, hips, hips * 0.97)
    figure.add(-0.2, (0, WAIST, 0), (0, 0.465, 0), pelvis, person.lower, rounded=False)
    if person.lower_kind == "skirt":
        flare = (hips * 0.95, hips * 1.1, hips * 1.3)
        skirt = (0, 0.54, 0), (0, 0.29, 0)
        figure.add(-0.19, *skirt, flare, person.lower, rounded=False)
    collar = (0, SHOULDER + 0.045, 0)
    profile = (0.3 * top, 0.7 * top, 0.93 * top, chest, 0.5 * (chest + waist), waist)
    below = np.interp(
        np.linspace(WAIST, person.hem, 4)[1:], (0.45, 0.52, WAIST), (hips, hips, waist)
    )
    # Even steps from the collar to the hem, whatever its height.
    heights = (collar[1], 0.828, SHOULDER - 0.005, 0.745, 0.67, WAIST)
    heights = (*heights, *np.linspace(WAIST, person.hem, 4)[1:])
    even = np.linspace(collar[1], person.hem, 16)
    widths = np.interp(-even, -np.array(heights), (*profile, *(1.03 * below)))
    figure.add(0, collar, (0, person.hem, 0), tuple(widths), person.upper, False)
    if person.upper_pattern == "patch" and np.cos(pose.yaw) > 0:
        patch = (0.0, 0.72, depth)
        size = figure.seen_width(0.055, 0.01), 0.045
        figure.add_ellipse(0.004, patch, *size, plain(person.upper.second))


def _add_arms(figure: Figure) -> None:
    person, pose = figure.person, figure.pose
    wide = person.girth * 0.5 + 0.5
    for side in (-1, 1):
        swing, spread = side * pose.arm_swing, pose.arm_spread
        shoulder = (side * (person.shoulder - 0.016), SHOULDER - 0.022, 0.0)
        elbow = reach(shoulder, UPPER_ARM, side * spread, swing)
        wrist = reach(elbow, FOREARM, side * spread * 0.5, swing + pose.elbow)
        order = 0.02 + figure.nearness(shoulder[0], 0.5 * (elbow[2] + wrist[2]))
        hand = reach(wrist, 0.028, 0, swing + pose.elbow)
        figure.add(order, wrist, hand, (0.019, 0.021), person.skin)
        upper, lower = (0.036 * wide, 0.031 * wide), (0.029 * wide, 0.021 * wide)
        figure.add(order + 0.001, elbow, wrist, lower, person.skin)
        figure.add(order + 0.001, shoulder, elbow, upper, person.skin)
        cuff = person.sleeve * 2  # 1 at the elbow, 2 at the wrist
        end = between(shoulder, elbow, min(cuff, 1.0))
        sleeve = tuple(1.1 * width for width in upper)
        if cuff > 1:
            wrist_end = between(elbow, wrist, cuff - 1)
            sleeves = tuple(1.15 * width for width in lower)
            figure.add(order + 0.002, elbow, wrist_end, sleeves, person.upper)
        figure.add(order + 0.003, shoulder, end, sleeve, person.upper)


def _add_head(figure: Figure) -> None:
    person, yaw = figure.person, figure.pose.yaw
    wide, tall = 0.05 * person.head, 0.066 * person.head
    middle = 0.99 - tall
    facing = float(np.cos(yaw))
    neck = (0.0, 0.8, 0.0), (0.0, middle, 0.0)
    figure.add(-0.01, *neck, (0.031, 0.028), person.skin)
    bald = person.hair_length < 0.1
    hair = person.skin if bald else person.hair
    if person.hair_length > 0.6 and not bald:
        length = 0.09 + 0.12 * (person.hair_length - 0.6) / 0.4
        behind = (0.0, middle, -0.03), (0.0, middle - length, -0.045)
        widths = (1.08 * wide, 1.12 * wide, 0.95 * wide)
        figure.add(0.045 if facing < 0 else -0.012, *behind, widths, hair)
    figure.add_ellipse(0.05, (0, middle, -0.004), 1.06 * wide, 1.06 * tall, hair)
    if facing > -0.45:
        face = wide * (0.6 + 0.3 * max(facing, 0.0))
        centre = (0.0, middle - 0.014, 0.45 * wide)
        figure.add_ellipse(0.051, centre, face, 0.84 * tall, person.skin)
        _add_features(figure, middle, wide)
    if person.hat_kind == "none":
        return
    dome = 1.13 * wide * np.sqrt(np.clip(1 - np.linspace(-0.98, 0.1, 8) ** 2, 0, 1))
    low = middle + (0.012 if person.hat_kind == "cap" else 0.018)
    figure.add(0.06, (0, 1.01, 0), (0, low, 0), tuple(dome), person.hat, rounded=False)
    if person.hat_kind == "cap":
        brim = (0.0, low + 0.004, 0.3 * wide), (0.0, low - 0.004, 1.75 * wide)
        order = 0.061 if facing > -0.2 else 0.049
        seen = figure.seen_width(0.8 * wide, 0.008)
        figure.add(order, *brim, (max(0.008, 0.25 * seen), 0.008), person.hat)


def _add_features(figure: Figure, middle: float, wide: float) -> None:
    """Add eyes and mouth, dark in every modality; lost in small pictures."""
    skin = figure.person.skin.first
    dark = plain(skin * np.array([0.3, 0.3, 0.35, 0.5, 0.9], np.float32))
    lips = plain(skin * np.array([0.75, 0.5, 0.5, 0.9, 1.0], np.float32))
    for x in (-0.42 * wide, 0.42 * wide):
        if figure.nearness(x, 0.75 * wide) > 0.2 * wide:
            eye = (x, middle + 0.002, 0.75 * wide)
            figure.add_ellipse(0.052, eye, 0.0075, 0.006, dark)
    if figure.nearness(0, wide) > 0.3 * wide:
        mouth = (0.0, middle - 0.036, 0.7 * wide)
        figure.add_ellipse(0.052, mouth, 0.014, 0.005, lips)


def _add_bag(figure: Figure) -> None:
    person = figure.person
    depth, size = TRUNK_DEPTH * person.girth, person.bag_size
    if person.bag_kind == "backpack":
        back = -(depth + 0.04)
        seen = figure.seen_width(0.085 * size, 0.045 * size)
        pack = (0.0, 0.815, back), (0.0, 0.815 - 0.25 * size, back)
        widths = tuple(seen * share for share in (0.75, 0.95, 1, 1, 1, 0.97))
        order = 0.03 * np.sign(figure.nearness(0, back))
        figure.add(float(order), *pack, widths, person.bag, rounded=False)
        straps = [(side * 0.062, side * 0.075) for side in (-1, 1)]
        ends = [((a, 0.822, depth), (b, 0.63, depth)) for a, b in straps]
    elif person.bag_kind == "shoulder":
        x = person.bag_side * (person.hip + 0.025)
        seen = figure.seen_width(0.06 * size, 0.075 * size)
        top, low = (x, 0.53, 0.02), (x, 0.53 - 0.13 * size, 0.02)
        order = 0.06 + figure.nearness(x, 0.02)
        figure.add(order, top, low, (0.92 * seen, seen, seen), person.bag, False)
        far = -person.bag_side * 0.065
        ends = [((far, 0.826, z), (x, 0.53, z)) for z in (-depth, depth)]
    else:
        return
    for start, end in ends:
        if figure.nearness(0, start[2]) > 0:
            figure.add(0.01, start, end, (0.011, 0.011), person.bag)
