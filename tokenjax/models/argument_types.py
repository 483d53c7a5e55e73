"""Annotations that many models' arguments share: type, range, meaning.

A model refines what differs, the later mark standing for the earlier one:

    embed_dim: Annotated[Width, "channels of a token at the first stage"] = 96
"""

from typing import Annotated, Literal

from tokenjax.arguments import (
    AT_INFERENCE,
    LARGEST_SIZE,
    NOT_OF_WEIGHTS,
    RATE,
    SIZE,
    FromData,
    Range,
    at_least,
)

RATIO = at_least(0, LARGEST_SIZE)  # one size over another
PART = Range(above=0, maximum=1)  # a share that must not be nothing
POSITIVE = Range(above=0)  # a temperature

Side = Annotated[int, SIZE, FromData("side"), "pixels a side of an image"]
SideOrSize = Annotated[
    int | tuple[int, int],
    SIZE,
    FromData("side"),
    "pixels a side of an image, or (height, width)",
]
ExampleSide = Annotated[
    Side, "pixels a side of the images that it is tried with; others do as well"
]
Channels = Annotated[int, SIZE, FromData("channels"), "channels of an image"]
Classes = Annotated[int, SIZE, FromData("classes"), "classes to tell apart"]
PatchSize = Annotated[int, SIZE, "pixels a side of a patch"]
Stride = Annotated[
    int | tuple[int, int],
    SIZE,
    "pixels from a patch to the next, or (down, right); below patch_size they overlap",
]
Width = Annotated[int, SIZE, "channels of a token"]
Depth = Annotated[int, SIZE, "number of blocks"]
StageDepths = Annotated[tuple[int, ...], SIZE, "number of blocks, for each stage"]
StageWidths = Annotated[tuple[int, ...], SIZE, "channels of a place, for each stage"]
Heads = Annotated[int, SIZE, "attention heads of a block; they share the channels"]
MlpRatio = Annotated[
    float, RATIO, "hidden channels of a block's MLP, as a multiple of a token's"
]
ActivationName = Annotated[
    Literal["gelu", "quick_gelu"],
    "between the layers of a block's MLP: exact GELU, or x sigmoid(1.702 x)",
]
Dropout = Annotated[
    float, RATE, NOT_OF_WEIGHTS, "share of activations set to 0 in training"
]
AttentionDropout = Annotated[
    float, RATE, NOT_OF_WEIGHTS, "share of attention weights set to 0 in training"
]
HeadDropout = Annotated[
    float, RATE, NOT_OF_WEIGHTS, "share of the classifier's inputs set to 0 in training"
]
DropPath = Annotated[
    float,
    RATE,
    NOT_OF_WEIGHTS,
    "chance that the last block is left out in training; less for those before it",
]
PatchDropout = Annotated[
    float,
    RATE,
    NOT_OF_WEIGHTS,
    "share of patches left out at random in training",
]
Epsilon = Annotated[float, at_least(0), "added to the variance in LayerNorm"]
Remat = Annotated[
    bool,
    NOT_OF_WEIGHTS,
    "compute blocks again for the gradients: less memory, more time",
]
ReturnAttention = Annotated[bool, NOT_OF_WEIGHTS, "give the attention weights in aux"]
ReturnIntermediate = Annotated[bool, NOT_OF_WEIGHTS, "give every block's output in aux"]
Execution = Annotated[
    Literal["gathered", "masked"],
    NOT_OF_WEIGHTS,
    AT_INFERENCE,
    "at inference: compute what is selected alone, or everything under a mask",
]
