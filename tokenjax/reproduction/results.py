"""The report's results, each sentence chosen by what was measured."""

import numpy as np

from tokenjax.reproduction import verdicts
from tokenjax.reproduction.claims import CLAIMS
from tokenjax.reproduction.jobs import (
    ANSWERS,
    BALANCED,
    CONDITIONS,
    IMBALANCED,
    PRUNED,
)
from tokenjax.reproduction.material import Material, joined, table

PRUNING = (
    ("dynamic_vit", "unpruned, as the original evaluates it"),
    ("dynamic_vit_random", "the same weights, pruned by predictors that never learned"),
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
                f"~{claim.accuracy:.0%} → {material.spread(top1)} %",
                f"{claim.milliseconds:g} → {own['milliseconds']:.1f} ms",
                f"{here['latency_ms']:.2f} ms",
                f"{trained['64'][name]['latency_ms'] / 64:.3f} ms",
            ]
        )
    headings = (
        "network",
        "parameters: claimed → counted",
        "as trained here",
        "FLOPs: claimed → counted",
        "as trained here",
        "accuracy: claimed → measured",
        "time per image: claimed → measured",
        "as trained here",
        "the same, 64 at a time",
    )
    where = material.costs["environment"]
    data = (
        "Accuracy is measured on the claimed data."
        if material.on_cifar
        else "Accuracy is claimed on CIFAR-10 and measured on other data, with smaller "
        "networks: their order can be compared, their height cannot."
    )
    return f"""\
### 4.1 One table

{table(headings, rows)}

"Counted" and "measured" are of the original's own sizes at 32 pixels (64 patches, 10
classes), one image at a time; "as trained here" of the networks of section 2. FLOPs
count 2 for a multiply-add; the products of layers and attention are counted, softmax
and norms are not. Time: {where["device"]}, medians of five rounds, the networks in
turns. {data}

{verdicts.parameters(material).sentence} {verdicts.flops(material).sentence} \
{verdicts.time(material).sentence}"""


def accuracy(material: Material) -> str:
    """Return the balanced accuracies against each other, and what is confused."""
    lines = [f"- {each.sentence}" for each in verdicts.orders(material)]
    confused = []
    for name, claim in CLAIMS.items():
        matrix = material.findings.confusion(BALANCED, name).astype(float)
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        np.fill_diagonal(shares, 0)
        true, called = np.unravel_index(int(shares.argmax()), shares.shape)
        names = material.plan.class_names
        confused.append((claim.title, names[true], names[called], shares[true, called]))
    same = {(true, called) for _, true, called, _ in confused}
    if len(same) == 1:
        _, true, called, _ = confused[0]
        shares = joined([f"{100 * share:.0f} %" for *_, share in confused])
        told = (
            f"All four make the same mistake most often: {true} called {called} "
            f"({shares} of its images)."
        )
    else:
        each = [
            f"{title} calls {true} {called} ({100 * share:.0f} %)"
            for title, true, called, share in confused
        ]
        told = f"The most frequent mistakes differ: {joined(each)}."
    return f"""\
### 4.2 Accuracy on the balanced split

{chr(10).join(lines)}

{material.figure("curves", "learning curves")}

{verdicts.still_rising(material)}

{material.figure("confusion", "confusion matrices of the four networks, balanced")}

Test images of all seeds. {told}"""


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
    headings = ("network", "condition", "accuracy, %", "macro F1, %")
    headings += (f"recall of the {_rare_count(material)} rarest classes, %",)
    lines = [f"- {verdicts.cost_of_imbalance(material).sentence}"]
    lines += [f"- {verdicts.answer(material, name).sentence}" for name in ANSWERS]
    return f"""\
### 4.3 Imbalance, and the answers to it

{table(headings, rows)}

{material.figure("accuracy", "accuracy by condition and network")}

The test split is balanced, so that accuracy is the mean of the classes' recalls. Each
answer against *{IMBALANCED}*, over all networks and seeds, pair by pair:

{chr(10).join(lines)}

{verdicts.best_answer(material)}

{material.figure("answers", "confusion matrices of vit_base under imbalance")}

vit_base under imbalance, by answer, test images of all seeds: the rarest classes are
the last rows."""


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
                f"{one['parameters']:,}",
                f"{one['mflops']:.2f}",
                f"{one['latency_ms']:.2f}",
                f"{many['latency_ms'] / 64:.3f}",
            ]
        )
    headings = ("DynamicViT", "accuracy, %", "parameters", "MFLOPs per image")
    headings += ("ms, one image", "ms an image, 64 at a time")
    lines = [f"- {each.sentence}" for each in verdicts.pruning(material)]
    return f"""\
### 4.4 DynamicViT: pruned or not

{table(headings, rows)}

{chr(10).join(lines)}"""


def attention(material: Material) -> str:
    """Return the maps of what the networks look at, and how wide they look."""
    wide = {}
    for name, claim in CLAIMS.items():
        values = material.findings.values(BALANCED, name, "effective_keys")
        if np.isfinite(values).all():
            wide[claim.title] = float(values.mean())
    told = ""
    if wide:
        each = joined([f"{title} {value:.1f}" for title, value in wide.items()])
        widest, narrowest = max(wide, key=wide.get), min(wide, key=wide.get)  # type: ignore[arg-type]
        told = (
            "A query attends to so many tokens (exp of the entropy of its weights, "
            f"mean over test images, blocks, heads and queries): {each}; "
            f"{widest} looks widest, {narrowest} most narrowly."
        )
    return f"""\
### 4.5 What the networks look at

{material.figure("attention", "attention of the class token in the last block")}

The class token's attention in the last block, mean over heads, of the first seed's
balanced networks; the first test image of each class. {PRUNED}: patches that are gone
are faded. {told}"""
