"""Arguments that several sources take: types, ranges, meanings."""

from typing import Annotated, Literal

from tokenjax.arguments import FREE, RATE, SHARE, at_least
from tokenjax.data.images.image_files import MOST_THREADS
from tokenjax.data.images.image_sizes import MAX_SIDE
from tokenjax.data.partition import Division
from tokenjax.data.sources.reid_layouts import Modality

PIXELS = at_least(1, MAX_SIDE)

Side = Annotated[int, PIXELS, "pixels a side of the images that are handed out"]
Height = Annotated[int, PIXELS, "pixels, of the images that are handed out"]
Width = Annotated[int, PIXELS, "pixels, likewise"]
# Free is what says where the data lies, how it is read and how it is divided: that what
# is in it stayed the same is compared itself.
Directory = Annotated[str, FREE, "the folder of the images"]
DataDirectory = Annotated[str, FREE, "where TFDS has prepared it; empty: TFDS's own"]
Download = Annotated[bool, FREE, "let TFDS fetch and prepare what is not there"]
ValidationFraction = Annotated[
    float, FREE, RATE, "of training, held back for validation"
]
TestFraction = Annotated[float, FREE, RATE, "of all, held back for the test"]
SplitSeed = Annotated[int, FREE, at_least(0), "of the choice of what is held back"]
Divided = Annotated[
    Division, FREE, "how that is chosen; random: as PyTorch's random_split does"
]
CacheBytes = Annotated[
    int, FREE, at_least(0), "sets up to this size are decoded at once, into memory"
]
NumThreads = Annotated[
    int, FREE, at_least(0, MOST_THREADS), "that read images; 0: one per core"
]
MaxPixels = Annotated[int, FREE, at_least(1), "of a file; one with more is refused"]
OutsideLinks = Annotated[bool, FREE, "symbolic links may lead out of the folder"]
Examples = Annotated[int, at_least(0), "images in this split"]
Noise = Annotated[float, SHARE, "standard deviation of the noise, of 0..1"]
HeldOut = Annotated[
    int, at_least(0), "training identities for validation; 0: it is the test split"
]
Missing = Annotated[
    Literal["error", "zeros"], "what becomes of a sample without one of its images"
]
Modalities = Annotated[tuple[Modality, ...], "which of a sample's images are read"]
