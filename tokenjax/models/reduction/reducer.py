"""What a method of token reduction is: one class, one file.

    class EveryOther(Reducer):
        '''Drops every other patch token before some blocks.'''

        blocks: Annotated[tuple[int, ...], COUNT, "before which it acts"] = (3,)
        site: ClassVar[Site] = "before"

        def amounts(self, encoder: EncoderFacts) -> dict[int, int]:
            return {block: 2 for block in self.blocks}

        def __call__(self, token_set, seen, place, train):
            count = token_set.patches.shape[1]
            kept = jnp.arange(0, count, place.amount)[None].repeat(len(...), 0)
            left, step = select_patches(token_set, kept)
            return left, Reduction(step)

    register("every_other", EveryOther)

Its fields are what a user sets, annotated as `tokenjax.arguments` says. An encoder
makes a copy for every block that `amounts` names and calls it at the method's site:

    before    before the block, on the residual stream
    between   between attention and MLP of the block, on the residual stream
    inside    in the attention: see `Inside`

A plan is made without gradient, unless the method says otherwise, and applied by
`merge_set` or `select_set`. Shapes must be static: what is left is a number that
`amounts` and the shapes give.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import flax.linen as nn
import jax

from tokenjax.arguments import DType
from tokenjax.errors import UserError
from tokenjax.models.attention import Mixing, Seen, Wanted
from tokenjax.models.checked_module import CheckedModule
from tokenjax.models.reduction.token_set import Reduction, TokenSet
from tokenjax.ops.attention import MaskedSoftmax
from tokenjax.ops.masked_attention import masked_softmax

Site = Literal["before", "between", "inside"]


class TorchLayer(NamedTuple):
    """Parameters of a method at one of its places, and how PyTorch names them.

    Attributes:
      block: where.
      kind: a linear layer, one without a bias ("matrix"), a layer norm, or an array
        that is the same in both.
      key: what its keys in a state_dict begin with; an array's whole key.
      path: "/"-joined, within the reducer at that block.
    """

    block: int
    kind: Literal["linear", "matrix", "norm", "array"]
    key: str
    path: str


class EncoderFacts(NamedTuple):
    """What a method may know of the encoder it works in."""

    depth: int
    patches: int  # p, of an image
    protected: int  # tokens that lead and are not patches
    class_token: bool  # whether the first of them is a class token
    distilled: bool  # whether the second is a distillation token
    width: int  # c
    num_heads: int
    pool: Literal["token", "avg"] = "token"  # what the head reads
    classes: int = 0
    patch_inputs: int = 0  # numbers in a patch of the image
    hidden: int = 0  # channels inside a block's MLP
    dtype: DType = "float32"  # of its arithmetic; its tokens are `layers.STREAM`

    @property
    def tokens(self) -> int:
        """Return how many tokens there are at first."""
        return self.protected + self.patches


class Place(NamedTuple):
    """One of the blocks where a method acts."""

    block: int
    number: int  # among the method's own, from 0
    amount: Any  # what `Reducer.amounts` says of it
    encoder: EncoderFacts


class Method(Protocol):
    """What an encoder asks of a method: see `Reducer`, which is one."""

    @property
    def site(self) -> Site: ...

    def wants(self) -> tuple[Wanted, ...]: ...

    def biases_by_size(self) -> bool: ...

    def masked_softmax(self) -> MaskedSoftmax: ...

    def start(self, token_set: TokenSet, train: bool) -> TokenSet: ...

    def places(self, encoder: EncoderFacts) -> Mapping[int, Place]: ...

    def step(self, place: Place) -> Any: ...


class Reducer(CheckedModule):
    """Base of every method; see the module."""

    site: ClassVar[Site] = "between"
    needs_class_token: ClassVar[bool] = False
    learns: ClassVar[bool] = False  # whether it learns to drop: task "pruning"

    def wants(self) -> tuple[Wanted, ...]:
        """Return what it looks at: of the block's attention, or the one's before."""
        return ()

    def amounts(self, encoder: EncoderFacts) -> Mapping[int, Any]:
        """Return what to do at each block where it acts, ascending.

        Raises: UserError for a schedule that does not fit the encoder.
        """
        raise TypeError(f"{type(self).__name__} does not say where it acts")

    def biases_by_size(self) -> bool:
        """Return whether attention adds the logarithm of a key's size."""
        return False

    def masked_softmax(self) -> MaskedSoftmax:
        """Return what attention computes by where tokens are masked."""
        return masked_softmax

    def marks(self) -> bool:
        """Return whether tokens that are gone stay at inference, and are only marked.

        What works on an encoder's tokens and knows no marks cannot have such a method.
        """
        return False

    def start(self, token_set: TokenSet, train: bool) -> TokenSet:
        """Prepare an encoder's first tokens."""
        del train
        return token_set

    def __call__(
        self, token_set: TokenSet, seen: Seen, place: Place, train: bool
    ) -> tuple[TokenSet, Reduction]:
        """Reduce; `seen` has what it wants. For the sites before and between."""
        raise TypeError(f"{type(self).__name__} does not act {self.site}")

    def mix(
        self,
        token_set: TokenSet,
        seen: Seen,
        project: Callable[[jax.Array], tuple[jax.Array, ...]],
        place: Place,
        train: bool,
    ) -> Mixing:
        """Decide what the attention mixes, for the site inside.

        Args:
          token_set: the block's input.
          seen: what it wants of the attention.
          project: makes queries, keys and values (b, h, n, d) of tokens (b, n, c).
          place: where.
          train: as everywhere.

        Returns: weights and values to go on with; `left` is the reduced set, on which
          the outcome is added, and the `Reduction`.
        """
        raise TypeError(f"{type(self).__name__} does not act inside")

    @nn.nowrap
    def step(self, place: Place) -> "Reducer":
        """Return what acts at a place, for the module at work to own."""
        if self.site == "before":
            return self.copy(name=f"reduction_{place.block}")
        return self.clone()

    def torch_layers(self, encoder: EncoderFacts) -> list[TorchLayer]:
        """Return all its parameters as PyTorch names them; [] if it has none."""
        del encoder
        return []

    def kept_shares(self, encoder: EncoderFacts) -> Mapping[int, float]:
        """Return the share of the patches found that it keeps at a block.

        Of a method that in training takes another one in its place: a number
        "keep_rate" in the collection "schedule". {} for all others.
        """
        del encoder
        return {}

    def parameters_of(self, block: str) -> str:
        """Return the path, within the encoder's variables, of those at a block.

        `block` is a number, or a pattern for all of them.
        """
        if self.site == "before":
            return f"reduction_{block}"
        return f"blocks_{block}/reducer"

    def find_arguments(
        self, params: Mapping[int, Mapping[str, Any]], encoder: EncoderFacts
    ) -> Mapping[str, Any]:
        """Return the arguments that training searched for, {} if it did not.

        `params`: its trained parameters by block.
        """
        del params, encoder
        return {}

    def places(self, encoder: EncoderFacts) -> dict[int, Place]:
        """Return where it acts in an encoder, by block.

        Raises: UserError if it does not fit, in one sentence.
        """
        name = type(self).__name__
        if self.needs_class_token and not encoder.class_token:
            raise UserError(
                f"{name} chooses by the attention of the class token, "
                "and this model has none"
            )
        amounts = self.amounts(encoder)
        wrong = [block for block in amounts if not 0 <= block < encoder.depth]
        if wrong:
            raise UserError(
                f"{name} acts at block {wrong[0]}, and the model has blocks 0 to "
                f"{encoder.depth - 1}"
            )
        return {
            block: Place(block, number, amounts[block], encoder)
            for number, block in enumerate(sorted(amounts))
        }
