"""The report's results, each sentence chosen by what was measured."""

import numpy as np

from tokenjax.reproduction import (
    accuracy_verdicts,
    answer_verdicts,
    cost_verdicts,
)
from tokenjax.reproduction.claims import CLAIMS
from tokenjax.reproduction.differences import apart
from tokenjax.reproduction.jobs import (
    ANSWERS,
    BALANCED,
    CONDITIONS,
    IMBALANCED,
    PRUNED,
)
from tokenjax.reproduction.material import Material, joined, listed, prose, table

BUSY = 0.5  # programs a core that were running before times were measured
PRUNING = (
    ("dynamic_vit", "unpruned, as the original evaluates it"),
    ("dynamic_vit_random", "the same weights, pruned by predictors that never learned"),
    ("dynamic_vit_random_alike", "likewise, as many patches dropped as by ours"),
    ("dynamic_vit_pruned", "pruned by predictors that learned from it (ours)"),
)


def all_results(material: Material) -> list[str]:
    """Return the parts of section 4."""
    return [
        "## 4. Results and analysis",
        one_table(material),
        accuracy(material),
        imbalance(material),
        pruning(material),
        attention(material),
    ]


def one_table(material: Material) -> str:
    """Return the README's table, as claimed and as measured."""
    original = material.costs["original"]
    trained = material.costs["trained"]
    rows = []
    for name, claim in CLAIMS.items():
        own, here = original[name], trained["1"][name]
        top1 = material.findings.values(BALANCED, name, "top1")
        rows.append(
            [
                claim.title,
                f"{claim.parameters / 1e6:.1f} M → {own['parameters'] / 1e6:.2f} M",
                f"{here['parameters'] / 1e6:.3f} M",
                f"{claim.flops / 1e9:.1f} G → {own['flops'] / 1e9:.2f} G",
                f"{here['mflops']:.2f} M",
                f"~{100 * claim.accuracy:.0f} → {material.spread(top1)} %",
                f"{claim.milliseconds:g} → {own['milliseconds']:.1f} ms",
                f"{here['latency_ms']:.2f} ms",
                f"{trained['64'][name]['latency_ms'] / 64:.3f} ms",
            ]
        )
    headings = (
        "network",
        "parameters, claimed → counted",
        "trained here",
        "FLOPs, claimed → counted",
        "trained here",
        "accuracy, claimed → measured",
        "time per image, claimed → measured",
        "trained here",
        "64 at a time",
    )
    where = material.costs["environment"]
    data = (
        "Accuracy is measured on the data of the claim."
        if material.on_cifar
        else "Accuracy is claimed on CIFAR-10 and measured on other data, with smaller "
        "networks: their order can be compared, their height cannot."
    )
    explained = prose(
        '"Counted", and the time "measured", are of the original\'s own sizes at 32',
        'pixels (64 patches, 10 classes), one image at a time; "trained here" are the',
        "networks of section 2. FLOPs count 2 for a multiply-add; products of layers",
        "and of attention are counted, softmax and norms are not. Time on",
        f"{where['device']}, the networks in turns: of the original's sizes the",
        "fastest of five rounds, of those trained here the median one.",
        _other_work(material.costs["load"], material.costs["cores"]),
        data,
    )
    lines = listed([each.sentence for each in cost_verdicts.all_costs(material)])
    parts = ["### 4.1 One table", table(headings, rows), explained, lines]
    return "\n\n".join(parts)


def _other_work(load: float, cores: int) -> str:
    """Say how busy the machine was with other work when times were measured."""
    if load <= BUSY * cores:
        return ""
    return (
        f"Other programs ran beside it ({load:.1f} at a time on {cores} cores): times "
        "are longer than they need be, and compare with each other alone."
    )


def accuracy(material: Material) -> str:
    """Return the balanced accuracies against each other, and what is confused."""
    confused = []
    for name, claim in CLAIMS.items():
        matrix = material.findings.confusion(BALANCED, name).astype(float)
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        np.fill_diagonal(shares, 0)
        true, called = np.unravel_index(int(shares.argmax()), shares.shape)
        names = material.plan.class_names
        share = float(shares[true, called])
        confused.append((claim.title, names[true], names[called], share))
    same = {(own, other) for _, own, other, _ in confused}
    if len(same) == 1:
        _, own, other, _ = confused[0]
        often = joined([f"{100 * share:.0f} %" for *_, share in confused])
        told = (
            f"All four make the same mistake most often: {own} called {other} "
            f"({often} of its images)."
        )
    else:
        each = [
            f"{title} calls {own} {other} ({100 * share:.0f} %)"
            for title, own, other, share in confused
        ]
        told = f"The most frequent mistakes differ: {joined(each)}."
    return "\n\n".join(
        [
            "### 4.2 Accuracy on the balanced split",
            listed([each.sentence for each in accuracy_verdicts.orders(material)]),
            material.figure("curves", "learning curves"),
            prose(accuracy_verdicts.still_rising(material)),
            material.figure(
                "confusion", "confusion matrices of the four networks, balanced"
            ),
            prose("Test images of all seeds.", told),
        ]
    )


def imbalance(material: Material) -> str:
    """Return what imbalance costs and what each answer gives back."""
    rows = []
    for name, claim in CLAIMS.items():
        for condition in CONDITIONS:
            cells = [
                material.spread(material.findings.values(condition, name, metric))
                for metric in ("top1", "macro_f1")
            ]
            rarest = _rare_recall(material, condition, name)
            rows.append(
                [
                    claim.title if condition == BALANCED else "",
                    condition.replace("_", " "),
                    *cells,
                    f"{100 * rarest:.1f}",
                ]
            )
    headings = [
        *("network", "condition", "accuracy, %", "macro F1, %"),
        f"recall of the {_rare_count(material)} rarest classes, %",
    ]
    judged = [answer_verdicts.cost_of_imbalance(material)]
    judged += [answer_verdicts.answer(material, name) for name in ANSWERS]
    return "\n\n".join(
        [
            "### 4.3 Imbalance, and the answers to it",
            table(headings, rows),
            material.figure("accuracy", "accuracy by condition and network"),
            prose(
                "The test split is balanced, so that accuracy is about the mean of the",
                f"classes' recalls. Each answer against *{IMBALANCED}*, over all",
                "networks and seeds, pair by pair:",
            ),
            listed([each.sentence for each in judged]),
            prose(answer_verdicts.best_answer(material)),
            material.figure("answers", "confusion matrices of vit_base, imbalanced"),
            prose(
                "vit_base under imbalance, by answer, test images of all seeds; the",
                "rarest classes are the last rows.",
            ),
        ]
    )


def _rare_count(material: Material) -> int:
    return max(1, len(material.plan.class_names) // 3)


def _rare_recall(material: Material, condition: str, name: str) -> float:
    """Return the mean recall of the classes that imbalance makes rarest."""
    counts = np.array(material.plan.counts[IMBALANCED])
    rarest = np.argsort(counts, kind="stable")[: _rare_count(material)]
    return float(material.findings.recalls(condition, name)[rarest].mean())


def pruning(material: Material) -> str:
    """Return DynamicViT unpruned, pruned at random and pruned as it learned."""
    rows = []
    for name, title in PRUNING:
        one, many = (material.costs["trained"][size][name] for size in ("1", "64"))
        rows.append(
            [
                title,
                material.spread(material.findings.values(BALANCED, name, "top1")),
                " → ".join(map(str, material.costs["patches"][name])),
                f"{one['parameters']:,}",
                f"{one['mflops']:.2f}",
                f"{one['latency_ms']:.2f}",
                f"{many['latency_ms'] / 64:.3f}",
            ]
        )
    headings = [
        *("DynamicViT", "accuracy, %", "patches", "parameters", "MFLOPs per image"),
        *("ms, one image", "ms an image, 64 at a time"),
    ]
    lines = listed([each.sentence for each in accuracy_verdicts.pruning(material)])
    title = "### 4.4 DynamicViT: pruned or not"
    return "\n\n".join([title, table(headings, rows), lines])


def attention(material: Material) -> str:
    """Return the maps of what the networks look at, and how wide they look."""
    wide = {
        name: material.findings.values(BALANCED, name, "effective_keys")
        for name in CLAIMS
    }
    measured = all(np.isfinite(each).all() for each in wide.values())
    told = _width(wide) if measured else ""
    return "\n\n".join(
        [
            "### 4.5 What the networks look at",
            material.figure("attention", "attention of the class token, last block"),
            prose(
                "The class token's attention in the last block, mean over heads, of",
                "the first seed's balanced networks; the first test image of each",
                f"class. {PRUNED}: patches that are gone are faded.",
                told,
            ),
        ]
    )


def _width(wide: dict[str, np.ndarray]) -> str:
    """Say how many tokens a query of each network attends to (seeds,)."""
    each = joined([f"{CLAIMS[name].title} {np.mean(wide[name]):.1f}" for name in wide])
    widest, narrowest = (
        choose(wide, key=lambda name: float(np.mean(wide[name])))
        for choose in (max, min)
    )
    gap = apart(wide[widest], wide[narrowest])
    return (
        "A query attends to so many tokens (exp of the entropy of its weights, mean "
        f"over test images, blocks, heads and queries): {each}. {CLAIMS[widest].title} "
        f"looks widest and {CLAIMS[narrowest].title} most narrowly, by a difference "
        f"{gap.told()}."
    )
