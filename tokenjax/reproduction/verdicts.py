"""What of a claim holds, with the sentence that says why."""

from typing import NamedTuple

HOLDS, IN_PART, FAILS = "holds", "holds in part", "does not hold"
UNKNOWN = "not told apart"


class Verdict(NamedTuple):
    """A claim, whether it holds, and the sentence that says why."""

    claim: str
    verdict: str
    sentence: str
