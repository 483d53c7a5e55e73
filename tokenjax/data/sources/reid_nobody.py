"""Identities that are nobody's, as in Market-1501.

-1   junk, such as a box beside a person: neither right nor wrong, so it is left out
0    a distractor: in the gallery, where it is never right; no query, no training
"""

from collections.abc import Sequence

from tokenjax.data.reid_dataset import DISTRACTOR, JUNK
from tokenjax.data.sources.reid_layouts import Layout, Sample
from tokenjax.errors import DatasetError


def without_nobody(
    layout: Layout, samples: Sequence[Sequence[Sample]]
) -> list[list[Sample]]:
    """Return each part's samples without junk and, but in a gallery, distractors.

    Raises: DatasetError for a part that holds no others.
    """
    kept = []
    for part, found in zip(layout.parts, samples, strict=True):
        nobody = {JUNK} if part.gallery else {JUNK, DISTRACTOR}
        kept.append([sample for sample in found if sample.identity not in nobody])
        if all(sample.identity == DISTRACTOR for sample in kept[-1]):
            raise DatasetError(
                f"{layout.name}: all {len(found)} images in {part.folder} are junk or "
                "distractors, of identity -1 or 0"
            )
    return kept


def remarks_on_nobody(
    layout: Layout, samples: Sequence[Sequence[Sample]]
) -> tuple[str, ...]:
    """Return a sentence on the junk, and one on the distractors, of each part."""
    remarks = []
    for part, found in zip(layout.parts, samples, strict=True):
        identities = [sample.identity for sample in found]
        junk, distractors = identities.count(JUNK), identities.count(DISTRACTOR)
        where = f"{layout.name}, {part.folder}:"
        if junk:
            remarks.append(f"{where} junk (identity -1), {junk} images, is left out")
        if distractors:
            role = "in the gallery alone" if part.gallery else "left out"
            remarks.append(
                f"{where} distractors (identity 0), {distractors} images, are {role}"
            )
    return tuple(remarks)
