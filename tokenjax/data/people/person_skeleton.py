"""The skeleton of a drawn person: their pose, and the figure that collects parts.

Three dimensions in statures: x to the side, y up, z forwards. Seen at an angle `yaw`
(0 from the front, pi from behind), a point lies at

    screen_x = x cos(yaw) + z sin(yaw),    nearness = z cos(yaw) - x sin(yaw)
"""

from dataclasses import dataclass, field

import numpy as np

from tokenjax.data.people.person_attributes import Person
from tokenjax.data.people.person_shapes import Material, Point, Shape, ellipse

Joint = tuple[float, float, float]


@dataclass(frozen=True)
class Pose:
    """Posture of a person in one picture. Angles in radians."""

    yaw: float
    stride: float  # of the left leg forwards, the right one backwards
    arm_swing: float
    arm_spread: float  # from the body
    elbow: float  # bent forwards
    lean: float  # of the head and shoulders to the side, in statures


def draw_pose(random: np.random.Generator, yaw: float) -> Pose:
    """Draw a walking or standing pose, seen from about `yaw`."""
    stride = random.uniform(-0.5, 0.5)
    return Pose(
        yaw=yaw + random.normal(0, 0.22),
        stride=stride,
        arm_swing=-stride * random.uniform(0.6, 1.4) + random.normal(0, 0.12),
        arm_spread=random.uniform(0.04, 0.22),
        elbow=random.uniform(0.05, 0.8),
        lean=random.normal(0, 0.008),
    )


@dataclass
class Figure:
    """Parts of one person, collected to be painted; `place` is where they stand."""

    person: Person
    pose: Pose
    place: Point
    size: float  # statures of the one in the middle
    parts: list[tuple[float, Shape, Material]] = field(default_factory=list)

    def project(self, joint: Joint) -> Point:
        """Return the point of the picture at which a joint is seen."""
        x, y, z = joint
        across = x * np.cos(self.pose.yaw) + z * np.sin(self.pose.yaw)
        across += self.pose.lean * y
        return (
            float(self.place[0] + self.size * across),
            float(self.place[1] + self.size * y),
        )

    def nearness(self, x: float, z: float) -> float:
        """Return how much nearer to the camera a point is than the body's axis."""
        return float(z * np.cos(self.pose.yaw) - x * np.sin(self.pose.yaw))

    def seen_width(self, half_width: float, half_depth: float) -> float:
        """Return half the seen width of an ellipse of these half-axes."""
        cos, sin = np.cos(self.pose.yaw), np.sin(self.pose.yaw)
        return float(np.hypot(half_width * cos, half_depth * sin))

    def add(
        self,
        order: float,
        start: Joint,
        end: Joint,
        half_widths: tuple[float, ...],
        material: Material,
        rounded: bool = True,
    ) -> None:
        """Add a limb between two joints, to be painted in the order of `order`."""
        widths = tuple(self.size * width for width in half_widths)
        ends = self.project(start), self.project(end)
        self.parts.append((order, Shape(*ends, widths, rounded), material))

    def add_ellipse(
        self, order: float, centre: Joint, width: float, height: float, of: Material
    ) -> None:
        """Add an upright ellipse around a joint."""
        shape = ellipse(self.project(centre), self.size * width, self.size * height)
        self.parts.append((order, shape, of))


def reach(start: Joint, length: float, outwards: float, forwards: float) -> Joint:
    """Return the end of a limb that hangs down, turned outwards and forwards."""
    x, y, z = start
    drop = length * np.cos(outwards) * np.cos(forwards)
    return (
        x + length * float(np.sin(outwards)),
        y - float(drop),
        z + length * float(np.cos(outwards) * np.sin(forwards)),
    )


def between(start: Joint, end: Joint, share: float) -> Joint:
    """Return the point that lies `share` of the way from `start` to `end`."""
    x, y, z = (a + share * (b - a) for a, b in zip(start, end, strict=True))
    return x, y, z
