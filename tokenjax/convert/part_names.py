"""What the names say that trainers give to the parts of a checkpoint."""

import re
from collections.abc import Collection

_AVERAGED_WORDS = {"ema", "averaged", "average", "polyak", "shadow", "swa"}
MODEL = {
    *("state_dict", "model_state_dict", "model", "module", "net", "network"),
    *("weights", "model_weights", "params", "model_params", "model_state", "state"),
    *("model_dict", "net_state_dict", "backbone", "encoder", "student", "teacher"),
}
# How words of names begin that training needs and a model does not.
_TRAINING = (
    *("amp", "arg", "callback", "cfg", "config", "criterion", "history", "hparam"),
    *("hyper", "loop", "loss", "metric", "optim", "rng", "scaler", "sched"),
)
AVERAGED, NAMED, SECOND, OTHER = range(4)  # ranks: the lowest is taken


def rank(name: str, others: Collection[str]) -> int:
    """Return how far behind a part with weights comes, by its name among others'."""
    if is_averaged(name):
        return AVERAGED
    if name == "student" and "teacher" in others:  # its average, which is evaluated
        return SECOND
    return NAMED if name in MODEL else OTHER


def is_averaged(name: str) -> bool:
    """Return whether a name speaks of averaged weights."""
    return not _AVERAGED_WORDS.isdisjoint(_words(name))


def may_hold_weights(name: str) -> bool:
    """Return whether a name is a model's, or at least not one of training's needs."""
    of_training = any(word.startswith(_TRAINING) for word in _words(name))
    return name in MODEL or not of_training


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z]+", name.lower()))
