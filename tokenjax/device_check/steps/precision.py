"""Logits in half precision against the model's own float32; PyTorch's beside them."""

import numpy as np

from tokenjax.benchmark import measure, precision
from tokenjax.device_check import sizes
from tokenjax.device_check.findings import Findings
from tokenjax.device_check.steps.peers import why_no_peer
from tokenjax.device_check.task import Task
from tokenjax.errors import UserError

HALF = "bfloat16"
LEAST = 0.3  # of the limit: with less left no further model is begun


def find(task: Task, findings: Findings) -> None:
    """Measure model after model, as long as there is time."""
    names = ["vit_base_patch16"] if task.tiny else task.arguments["models"]
    assert isinstance(names, list | tuple)
    findings.add(dtype=HALF)
    said: list[str] = []
    left_out: list[str] = []
    for name in names:
        if said and findings.left() < LEAST * task.seconds:
            left_out.append(name)
            continue
        arguments = sizes.TINY[name] if task.tiny else {}
        try:
            module, _ = measure.build(name, arguments, "float32", 0)
            peer = not why_no_peer(name, module)
            found = precision.measure(
                name,
                arguments,
                HALF,
                batch_size=2,
                seeds=1,
                gradients=False,
                peer=peer,
            )
        except UserError as error:
            findings.fail(f"{name}: {error}")
            continue
        ours = float(np.mean(found.ours.outputs))
        theirs = None if found.peer is None else float(np.mean(found.peer.outputs))
        findings.add_row(
            {
                "model": name,
                "inputs": found.inputs,
                "ours": ours,
                "theirs": theirs,
                "ratio": found.ratio,
                "source": found.source,
            }
        )
        amp = "" if theirs is None else f" (PyTorch's {100 * theirs:.2f} %)"
        said.append(f"{name} {100 * ours:.2f} %{amp}")
        findings.say("; ".join(said))
    findings.add(left_out=left_out)
