"""The lines that say first what an evaluation found, and what it could not measure."""

import numpy as np

from tokenjax import evaluation
from tokenjax.training.tasks.classification import Classification
from tokenjax.training.tasks.routing import Routing

LABELS = np.array([0, 0, 2, 2])
BEST = np.array([[0], [1], [2], [2]])


def summarize(loss=1.0, train_counts=None):
    found = evaluation.summarize(LABELS, BEST, np.full(4, loss), 3)
    if train_counts:
        recall = [row["recall"] for row in found["per_class"]]
        found["shots"] = evaluation.accuracy_by_shots(recall, np.array(train_counts))
    return {"split": "test", **found}


def test_classes_without_an_image_and_a_top_5_that_there_is_not():
    assert Classification.headline(summarize()) == [
        "test: top-1 75.00%, loss 1.0000 on 4 images",
        "1 of 3 classes have no image in this split: means over classes leave them out",
    ]


def test_a_loss_that_is_no_number():
    first, _ = Classification.headline(summarize(loss=np.inf))
    assert first == "test: top-1 75.00%, loss not measured on 4 images"


def test_shots_of_classes_without_an_image():
    *_, line = Classification.headline(summarize(train_counts=[500, 5, 400]))
    assert line == (
        "many-shot 75.00% (2 classes); medium-shot: no classes; few-shot not measured "
        "(1 classes, 1 of them without an image)"
    )


def test_a_target_that_fills_no_patch():
    masks = np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]])
    boxes = np.array([[3, 3, 5, 5]] * 2)
    routing = evaluation.summarize_routing(masks, masks / 2, boxes, 8)
    *_, line = Routing.headline({**summarize(), "routing": routing | {"mflops": 1.5}})
    assert line == (
        "12.5% of the patches to the big network, 1.50 MFLOPs per image; of the "
        "target's patches: not measured"
    )
    routing["target_recall"] = 0.5
    *_, line = Routing.headline({**summarize(), "routing": routing | {"mflops": 1.5}})
    assert line.endswith("of the target's patches: 50.0%")


def test_what_was_searched_for_is_said_last():
    found = {"reduction": "diffrate:prune_kept=(5,3),merge_kept=(5,2)"}
    *_, line = Classification.headline({**summarize(), "found": found})
    assert line == "found reduction: diffrate:prune_kept=(5,3),merge_kept=(5,2)"
