"""What a model owes to those who use it: training, evaluation, figures and benchmark.

Every registered model is a `Model`. What more it can do it says by fulfilling another
of these protocols, which callers ask for with `isinstance`: no caller looks for an
attribute, a parameter or an argument of one model by its name.

    Model           example inputs, groups of parameters
    Drawable        what of its `aux` a figure shows, for what is per image
    RoutesPatches   a target ratio and a temperature that change over training
    LearnsArguments arguments that only say where trained parameters start
    FindsArguments  trained parameters that say what arguments should be
    KeepsShares     shares of tokens kept that change over training
    Prunes          learns to drop tokens; the same network without that
    ReducesTokens   goes on with fewer tokens, as a method of `models.reduction` says
    Retrieves       features to search by, from several modalities
    SelectsTokens   tokens chosen in each modality, to be drawn
    Layered         its parameters in layers, from the images to the classes
    Crops           may not see an image's last rows and columns
    KnowsPlaces     arrays that have a row for every place of a grid
    HasBackbone     a network inside that has weights of its own, or is one

Groups of parameters go by the names below. A model gives those that its arguments make
it have, each as patterns over "/"-joined paths of its "params": "*" stands for anything
within one part, "**" for any number of parts. A pattern that matches no parameter is an
error where it is looked up (`tokenjax.training.parameter_groups`).

Classifiers return (logits (b, classes), aux); `aux["losses"]` holds scalar losses, each
a mean over images (else see `ops.batch_parts`), and "attention", where it is not None,
per block the weights (b, heads, queries, keys).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
from flax.typing import VariableDict

from tokenjax.models.position_embedding import Places

# What makes the classes' scores of features; the last axis of its arrays counts them.
HEAD = "head"
# Kernels that read the image: their last axes are (..., places * channels, features),
# the channels of a place beside each other. Not of a model whose channels are fixed.
INPUT = "input"
# Arrays (..., rows, columns) laid out as a map of offsets or places, whose size follows
# from the images'; see `KnowsPlaces` for those that have a row for each place.
MAPS = "maps"
BACKBONE = "backbone"  # a network whose weights may come converted: "name/**" alone
CAMERAS = "cameras"  # embeddings of a data set's own cameras, in the backbone or not
FUSION = "fusion"  # what makes one feature of several modalities
FUSED = "fused"  # the fusion, and whatever else the fused feature alone needs
CONSTANT = "constant"  # parameters that never move
PREDICTORS = "predictors"  # what judges tokens, which the unpruned network never asks
GROUPS = (HEAD, INPUT, MAPS, BACKBONE, CAMERAS, FUSION, FUSED, CONSTANT, PREDICTORS)

FEATURES = ("direct", "fused", "concat")  # of a model that retrieves
ROUTED = ("mask", "attention_scores", "expected_flops", "actual_flops", "threshold")
SCHEDULE = "schedule"  # the collection of numbers that change from step to step
FUSED_PAIR = "fused"  # of `pairs`: the one that waits for the direct branch

Groups: TypeAlias = Mapping[str, tuple[str, ...]]
Layers: TypeAlias = Sequence[tuple[str, ...]]
Pairs: TypeAlias = Mapping[str, tuple[jax.Array, jax.Array]]
ByModality: TypeAlias = Mapping[str, jax.Array]
Tree: TypeAlias = Mapping[str, Any]  # of arrays: variables, or a module's own of them


@runtime_checkable
class Model(Protocol):
    """A flax.linen module that can be initialised and trained."""

    def init(self, rngs: jax.Array, *inputs: Any, **arguments: Any) -> VariableDict:
        """Make the variables, as Flax does."""

    def apply(self, variables: VariableDict, *inputs: Any, **arguments: Any) -> Any:
        """Compute the outputs, as Flax does."""

    def example_inputs(self, batch_size: int) -> tuple[Any, ...]:
        """Return zeros of the shapes that `__call__` takes."""

    def parameter_groups(self) -> Groups:
        """Return the groups of parameters, as the module's docstring says."""


@runtime_checkable
class Drawable(Model, Protocol):
    """A classifier that shows what it did with every image."""

    def with_attention(self) -> Model:
        """Return the same network with everything in `aux` that a figure shows."""


@runtime_checkable
class RoutesPatches(Model, Protocol):
    """A classifier that sends some patches to a big network, the rest to a small one.

    `__call__` takes `target_ratio` and `temperature` as well, numbers or arrays, in
    place of the attributes. `aux` has "mask" and "attention_scores" (b, patches),
    "routing_ratio", "expected_flops" and "actual_flops" (b,), and "threshold" ().
    """

    target_ratio: float
    temperature: float


class Learned(NamedTuple):
    """Parameters that an argument only gives the start of.

    Attributes:
      how: what `replace` does, after "each value": "is set as the threshold".
      value: of the variables, what the argument would be now.
      replace: (variables, value) -> variables that decide as if it had been learned.
    """

    how: str
    value: Callable[[Tree], float]
    replace: Callable[[Tree, float], Tree]


@runtime_checkable
class LearnsArguments(Model, Protocol):
    """A model with arguments that only say where trained parameters start.

    Of weights that are there such an argument says nothing: the parameters decide.
    """

    def learned_arguments(self) -> Mapping[str, Learned]:
        """Return what stands for these arguments, by their names."""


@runtime_checkable
class FindsArguments(Model, Protocol):
    """A model that may be trained in search of arguments, for another run to have."""

    def found_arguments(self, variables: Tree) -> Mapping[str, object]:
        """Return what was found, by the arguments' names; {} if nothing is searched."""


@runtime_checkable
class KeepsShares(Model, Protocol):
    """A classifier whose reduction may keep a share of the tokens that it finds.

    In training `apply` takes the collection `SCHEDULE`, numbers or arrays, in place of
    the shares that its arguments say.
    """

    def kept_shares(self) -> Mapping[str, float]:
        """Return the shares of its arguments, by "/"-joined path in `SCHEDULE`.

        {} where they cannot change.
        """


@runtime_checkable
class Prunes(Model, Protocol):
    """A classifier that can learn which tokens to drop, if its arguments say so.

    In training and without pruning `aux` has "tokens" (b, n, c), of which the last p
    are the patches. Its parameters are those of the unpruned network and the group
    `PREDICTORS`.
    """

    def learns_to_prune(self) -> bool:
        """Return whether its arguments leave the predictors something to learn by."""

    def keep_masks(self, aux: Mapping[str, Any]) -> jax.Array:
        """Return (steps, b, p), 1 for the patches left after each step.

        Of the `aux` of one that learns to prune.
        """

    def unpruned_arguments(self) -> Mapping[str, object]:
        """Return the arguments, by name, that make it the unpruned network."""

    def unpruned(self) -> Model:
        """Return the same network, which keeps every token."""

    def idle_unpruned(self) -> tuple[str, ...]:
        """Return the names of the arguments that change nothing of that one."""

    def plain(self) -> Model:
        """Return the simplest network that the unpruned one amounts to.

        It does not learn to prune; its parameters are those of the unpruned one.
        """


@runtime_checkable
class ReducesTokens(Model, Protocol):
    """A model that leaves fewer tokens to its later blocks, if it is told how.

    Attributes:
      reduction: the method as it is written, or None. See `models.reduction`; what it
        did with the tokens of each image is in `aux["reduction"]`.
    """

    reduction: str | Mapping[str, Any] | None


@runtime_checkable
class Retrieves(Model, Protocol):
    """Images by modality and cameras (b,) to features that a gallery is searched by.

    Returns a dict with "features", by each name of `FEATURES` (b, c). `__call__` takes
    `missing`, names of modalities to be left out.
    """

    def pairs(self, outputs: Mapping[str, Any]) -> Pairs:
        """Return (scores, feature) of every part that has a loss, by name."""


@runtime_checkable
class SelectsTokens(Model, Protocol):
    """A model that may choose tokens in each modality, as its arguments say.

    Attributes:
      grid: rows and columns of its patches.
    """

    @property
    def grid(self) -> tuple[int, int]: ...

    def selects_tokens(self) -> bool:
        """Return whether this one does."""

    def selection(self, outputs: Mapping[str, Any]) -> Mapping[str, ByModality]:
        """Return by modality "mask" and "scores" (b, p), and "weights" (b, a, p).

        Weights are the share of every patch in each of a aggregated tokens. For a model
        that selects.
        """


@runtime_checkable
class Layered(Model, Protocol):
    """A model whose parameters lie in layers, one after another."""

    def parameter_layers(self) -> Layers:
        """Return the patterns of each layer, from what reads images to the head.

        Every parameter fits the patterns of just one. A pattern may fit none; a layer
        without parameters does not count.
        """


@runtime_checkable
class Crops(Model, Protocol):
    """A model that cuts images of `image_size` into patches from their upper left."""

    def unseen_pixels(self) -> tuple[int, int]:
        """Return how many rows below and columns to the right fill no patch."""


@runtime_checkable
class KnowsPlaces(Model, Protocol):
    """A model with arrays that are laid out on a grid: weights of another grid differ.

    As many places do not make a grid the same: 16 x 4 is not 8 x 8.
    """

    def places(self) -> Mapping[str, Places]:
        """Return those arrays' layouts, by "/"-joined path in the variables."""


@runtime_checkable
class HasBackbone(Model, Protocol):
    """A model with the group `BACKBONE`, or one that can be such a backbone."""

    def backbone_settings(self) -> Mapping[str, object]:
        """Return what the backbone computes by and no shape of its weights tells."""
