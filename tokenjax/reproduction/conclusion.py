"""The report's conclusion: claim by claim, what holds."""

from collections import Counter

from tokenjax.reproduction import verdicts
from tokenjax.reproduction.jobs import ANSWERS
from tokenjax.reproduction.material import Material, table
from tokenjax.reproduction.verdicts import Verdict


def conclude(material: Material) -> str:
    """Return section 5."""
    found = claims(material)
    rows = [[each.claim, f"**{each.verdict}**", each.sentence] for each in found]
    counts = Counter(each.verdict for each in found)
    order = (verdicts.HOLDS, verdicts.IN_PART, verdicts.FAILS, verdicts.UNKNOWN)
    told = ", ".join(f"{counts[name]} {name}" for name in order if counts[name])
    elsewhere = (
        ""
        if material.on_cifar
        else "\n\nWhat is said of accuracy holds for this data and these small "
        "networks; `--data cifar10` trains the original's own."
    )
    return f"""\
## 5. Conclusion

Of {len(found)} claims, those of the README and those that its design rests on: {told}.

{table(("claim", "here", "what was found"), rows)}{elsewhere}"""


def claims(material: Material) -> list[Verdict]:
    """Return every claim with its verdict."""
    return [
        verdicts.parameters(material),
        verdicts.fewer(material),
        verdicts.flops(material),
        verdicts.time(material),
        *verdicts.orders(material),
        *verdicts.pruning(material),
        verdicts.cost_of_imbalance(material),
        *(verdicts.answer(material, name) for name in ANSWERS),
    ]
