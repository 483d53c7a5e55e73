"""Kernels that read an image: of colour for grey, and the other way round.

    grey     k(grey) = k(red) + k(green) + k(blue)
    colour   k(red) = k(green) = k(blue) = k(grey) / 3

A grey picture gives the network the same either way, bit for bit up to the order of
the sum: a grey one in three channels has three equal ones. (With `mean` and `std` that
differ from channel to channel it is only nearly the same: a grey image has one each,
their mean.) It is what timm does with `in_chans=1`.
"""

import numpy as np

from tokenjax.arguments import describe
from tokenjax.errors import CheckpointError
from tokenjax.models import contract
from tokenjax.training.adaptation.paths import Arrays

GREY, COLOUR = 1, 3


def fit_channels(
    given: Arrays,
    kernels: frozenset[str],
    source: contract.Model,
    model: contract.Model,
) -> tuple[Arrays, list[str]]:
    """Return arrays that read as many channels as the model's images have.

    Args:
      given: the weights, by path.
      kernels: paths of those that read an image, (..., places * channels, features).
      source: the model that the weights are of.
      model: that they are for.

    Raises: CheckpointError for channels that are neither grey nor colour.
    """
    have, want = _count_channels(source), _count_channels(model)
    if have == want or have is None or want is None or not kernels:
        return given, []
    if {have, want} != {GREY, COLOUR}:
        raise CheckpointError(
            f"the weights are of images of {have} channels, the data has {want}: only "
            "colour (3) can be taken for grey (1), and grey for colour"
        )
    fitted = {
        path: _fit_kernel(np.asarray(given[path]), have)
        for path in kernels & given.keys()
    }
    how = "added up" if want == GREY else "shared out"
    return given | fitted, [
        f"kernels that read {have} channels are {how} to read {want}"
    ]


def _fit_kernel(kernel: np.ndarray, have: int) -> np.ndarray:
    *places, inputs, features = kernel.shape
    apart = kernel.astype(np.float64).reshape(*places, inputs // have, have, features)
    if have == COLOUR:
        changed = apart.sum(axis=-2)
    else:
        changed = np.repeat(apart / COLOUR, COLOUR, axis=-2)
    return changed.reshape(*places, -1, features).astype(kernel.dtype)


def _count_channels(model: contract.Model) -> int | None:
    """Return the channels that a model's arguments say, None where they are fixed."""
    given = vars(model)
    counts = (
        int(given[argument.name])
        for argument in describe(type(model)).values()
        if argument.from_data == "channels"
    )
    return next(counts, None)
