"""Random damage to bytes: flipped, cut, spliced, overwritten. Seeded by the caller."""

import numpy as np


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Return another content than `content`, by one to three random changes."""
    result = content
    for _ in range(int(random.integers(1, 4))):
        kinds = (flipped, truncated, spliced, overwritten)
        result = kinds[int(random.integers(len(kinds)))](result, random)
    return result if result != content else content + b"\0"


def flipped(content: bytes, random: np.random.Generator) -> bytes:
    """Flip one to eight bits."""
    result = bytearray(content)
    for _ in range(int(random.integers(1, 9)) if result else 0):
        result[int(random.integers(len(result)))] ^= 1 << int(random.integers(8))
    return bytes(result)


def truncated(content: bytes, random: np.random.Generator) -> bytes:
    """Cut the end off."""
    return content[: int(random.integers(len(content) + 1))]


def spliced(content: bytes, random: np.random.Generator) -> bytes:
    """Put a piece somewhere else, between or in the place of what was there."""
    if not content:
        return content
    start, stop, place = sorted(
        int(n) for n in random.integers(len(content) + 1, size=3)
    )
    piece = content[start:stop]
    after = place + len(piece) * int(random.integers(2))
    return content[:place] + piece + content[after:]


def overwritten(content: bytes, random: np.random.Generator) -> bytes:
    """Overwrite a stretch by random bytes, zeros or ones."""
    start = int(random.integers(len(content) + 1))
    length = int(random.integers(1, 65))
    noise = random.bytes(length)
    filling = (noise, b"\0" * length, b"\xff" * length)[int(random.integers(3))]
    return content[:start] + filling + content[start + length :]
