"""The report's conclusion: claim by claim, what holds."""

from collections import Counter
from collections.abc import Sequence

from tokenjax.reproduction import (
    accuracy_verdicts,
    answer_verdicts,
    cost_verdicts,
    verdicts,
)
from tokenjax.reproduction.jobs import ANSWERS
from tokenjax.reproduction.material import Material, joined, prose, table
from tokenjax.reproduction.verdicts import Verdict


def conclude(material: Material) -> str:
    """Return section 5."""
    claimed, rested = of_readme(material), of_design(material)
    elsewhere = ""
    if not material.on_cifar:
        elsewhere = (
            "What is said of accuracy holds for this data, these small networks and "
            "this budget; `--data cifar10` trains the original's own."
        )
    return "\n\n".join(
        [
            "## 5. Conclusion",
            prose(f"Of {len(claimed)} claims of the README, {_counted(claimed)}."),
            _table(claimed),
            prose(
                f"Of {len(rested)} things that its design rests on,",
                f"{_counted(rested)}. {elsewhere}",
            ),
            _table(rested),
        ]
    )


def _counted(found: Sequence[Verdict]) -> str:
    """Say how many hold."""
    counts = Counter(each.verdict for each in found)
    words = {
        verdicts.HOLDS: ("holds", "hold"),
        verdicts.IN_PART: ("holds in part", "hold in part"),
        verdicts.FAILS: ("does not hold", "do not hold"),
        verdicts.UNKNOWN: (
            "cannot be told from chance",
            "cannot be told from chance",
        ),
    }
    return joined(
        [
            f"{counts[verdict]} {one if counts[verdict] == 1 else many}"
            for verdict, (one, many) in words.items()
            if counts[verdict]
        ]
    )


def _table(found: Sequence[Verdict]) -> str:
    rows = [[each.claim, f"**{each.verdict}**", each.sentence] for each in found]
    return table(("claim", "here", "what was found"), rows)


def of_readme(material: Material) -> list[Verdict]:
    """Return the README's claims with their verdicts."""
    return [
        *cost_verdicts.all_costs(material),
        *accuracy_verdicts.orders(material),
    ]


def of_design(material: Material) -> list[Verdict]:
    """Return what else was judged: pruning, and the answers to imbalance."""
    return [
        *accuracy_verdicts.pruning(material),
        answer_verdicts.cost_of_imbalance(material),
        *(answer_verdicts.answer(material, name) for name in ANSWERS),
    ]
