"""A trained network with all that it takes to answer for pictures."""

import collections
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import VariableDict

from tokenjax import data, half_weights, plots
from tokenjax.card import Card
from tokenjax.errors import UserError
from tokenjax.evaluation.predictions import Predictions
from tokenjax.models import contract
from tokenjax.prediction import embedding
from tokenjax.prediction.card_reading import image_shape, reading
from tokenjax.prediction.pictures import (
    Pictures,
    Preparation,
    list_pictures,
    name_pictures,
    read_batches,
)
from tokenjax.training import inference
from tokenjax.training.distribution import devices

BATCH_SIZE = 64
IN_FLIGHT = 3  # batches on the device before the first is waited for
# (the network's variables, what it takes) -> arrays of a row for each picture
Function: TypeAlias = Callable[[VariableDict, Any], Any]


class Predictor:
    """What `tokenjax.load` returns.

    Attributes:
      model: the network, a Flax module.
      variables: its weights, on the devices.
      classes: their names in the order of the scores.
      card: what the weights depend on.
      batch_size: pictures that are computed at a time; the last batch is filled up.
        The same pictures in batches of another size differ by rounding.
    """

    def __init__(
        self,
        model: contract.Model,
        variables: VariableDict,
        card: Card,
        batch_size: int = BATCH_SIZE,
    ):
        """Place the weights.

        Args:
          model: the network.
          variables: that fit it.
          card: with mean and std.
          batch_size: see the class.

        Raises: UserError for a card that does not fit the network.
        """
        self.model, self.card, self.batch_size = model, card, batch_size
        mean, std = card.images.mean, card.images.std
        if mean is None or std is None:
            raise UserError("the card tells no mean and std of the images")
        self._normalize = functools.partial(data.normalize, mean=mean, std=std)
        self.preparation = Preparation(image_shape(model, card), reading(card))
        self.mesh = devices.own_mesh()
        whole = devices.replicated(self.mesh)
        self.variables: VariableDict = jax.device_put(dict(variables), whole)
        self._rounded: tuple[VariableDict, VariableDict] | None = None
        self.classes = self._name_classes()

    def _name_classes(self) -> tuple[str, ...]:
        """Return the card's names of classes, or their numbers; () without scores.

        Raises: UserError if the network has another number of them.
        """
        outputs = jax.eval_shape(
            self.model.apply, self.variables, *self.model.example_inputs(1)
        )
        first = outputs[0] if isinstance(outputs, tuple) else None
        if getattr(first, "ndim", 0) != 2 or not embedding.head_paths(self.model):
            return ()
        count = first.shape[-1]  # type: ignore[union-attr]
        names = self.card.classes or tuple(map(str, range(count)))
        if len(names) != count:
            raise UserError(
                f"the card names {len(names)} classes, the network scores {count}"
            )
        return names

    @property
    def retrieves(self) -> bool:
        """Return whether it tells identities apart, from images of modalities."""
        return isinstance(self.model, contract.Retrieves)

    def preprocess(self, pictures: Pictures) -> np.ndarray:
        """Return pictures as uint8 (n, height, width, channels), as the network's own.

        Args:
          pictures: a path, an array uint8 (h, w) or (h, w, 1, 3 or 4), an image of
            Pillow, of any size; several of them; or an array that is a batch.

        Raises: UserError for what is no picture, DatasetError for a broken file.
        """
        found = list_pictures(pictures)
        batches = list(read_batches(found, self.preparation, self.batch_size))
        if not batches:
            raise UserError("no pictures are given")
        return np.concatenate(batches)

    def normalize(self, images: np.ndarray | jax.Array) -> jax.Array:
        """Return uint8 images as float32, as `apply` takes them."""
        return self._normalize(jnp.asarray(images))

    def apply(self, images: Any, *inputs: Any, **arguments: Any) -> Any:
        """Return what the network does, of normalised float32 images: (logits, aux).

        Args:
          images: (n, height, width, channels); by modality of a network for retrieval.
          inputs: what else it takes of every image: cameras, of such a network.
          arguments: its own by name, arrays.
        """
        return self._apply(self._kept, images, *inputs, **arguments)

    @property
    def _kept(self) -> VariableDict:
        """The weights, in half precision where nothing else is read of them."""
        if getattr(self.model, "dtype", jnp.float32) == jnp.float32:
            return self.variables
        if self._rounded is None or self._rounded[0] is not self.variables:
            inputs = self.model.example_inputs(1)
            kept = half_weights.keep(self.model.apply, self.variables, *inputs)
            self._rounded = self.variables, kept
        return self._rounded[1]

    @functools.cached_property
    def _apply(self) -> Callable[..., Any]:
        return devices.under_mesh(self.mesh, jax.jit(self.model.apply))

    def predict(self, pictures: Pictures) -> Predictions:
        """Return the scores of every class for pictures, as `preprocess` takes them.

        Raises: UserError for a network that scores no classes, or what is no picture.
        """
        self.check_scores()
        found = list_pictures(pictures)
        batches = read_batches(found, self.preparation, self.batch_size)
        (logits,) = self.run(batches, self.logits)
        return Predictions(name_pictures(found), self.classes, logits)

    def check_scores(self) -> None:
        """Raise UserError unless there are classes to tell."""
        if self.classes:
            return
        name = self.card.model["name"]
        if self.retrieves:
            raise UserError(
                f"{name} finds a person or vehicle again and scores no classes: "
                "tokenjax.load(...).embed({modality: pictures}) gives what a gallery "
                "is searched by, and eval measures it"
            )
        raise UserError(
            f"{name} is a network without a classifier: tokenjax.load(...).embed gives "
            "its features"
        )

    def embed(
        self,
        pictures: Pictures | Mapping[str, Pictures],
        cameras: int | Sequence[int] = 0,
    ) -> np.ndarray:
        """Return a vector for every picture, float32 (n, c).

        Of a classifier it is what the head takes. Of a network for retrieval it is the
        feature to search by.

        Args:
          pictures: as `preprocess` takes them; of a network for retrieval by modality,
            of which some may be left out.
          cameras: of a network for retrieval, that took each sample.

        Raises: UserError for what is no picture, or no modality of the network's.
        """
        if self.retrieves:
            from tokenjax.prediction.retrieval import embed_samples

            if not isinstance(pictures, Mapping):
                raise UserError(
                    f"{self.card.model['name']} takes images by modality: "
                    "embed({name: pictures}), of "
                    f"{', '.join(self.card.images.modalities)}"
                )
            return embed_samples(self, pictures, cameras)
        if isinstance(pictures, Mapping):
            raise UserError("a dict of pictures is for networks of several modalities")
        found = list_pictures(pictures)
        batches = read_batches(found, self.preparation, self.batch_size)
        (vectors,) = self.run(batches, self.vectors)
        return vectors

    def look(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return what figures take of the network's `aux` (`tokenjax.plots.looks`).

        Args:
          images: uint8, as `preprocess` returns them, one batch or less.
        """
        placed = self._place(images)[1]
        found = jax.device_get(self._look(self._kept, placed))
        return {
            key: np.take(array, range(len(images)), plots.image_axis(key))
            for key, array in found.items()
        }

    @functools.cached_property
    def _look(self) -> Function:
        look = functools.partial(inference.look, self.model, self._normalize)
        return inference.compile_inference(self.mesh, look)

    @functools.cached_property
    def logits(self) -> Function:
        """Return the function that scores a batch: the program of an evaluation."""
        infer = functools.partial(inference.infer, self.model, self._normalize)
        compiled = inference.compile_inference(self.mesh, infer)
        return lambda variables, images: compiled(variables, images)[0]

    @functools.cached_property
    def vectors(self) -> Function:
        """Return the function that embeds a batch."""

        def embed(variables: VariableDict, images: jax.Array) -> jax.Array:
            return embedding.embed(self.model, variables, self._normalize(images))

        return inference.compile_inference(self.mesh, embed)

    def run(self, batches: Iterable[Any], *functions: Function) -> list[Any]:
        """Return what each function makes of all pictures, as numpy arrays.

        Args:
          batches: of up to `batch_size` rows, trees of arrays; the next ones are made
            by a thread while the device computes.
          functions: see `Function`.

        Raises: UserError without a picture, and whatever `batches` does.
        """
        pending: collections.deque[tuple[int, list[Any]]] = collections.deque()
        done: list[list[Any]] = []

        def fetch() -> None:
            count, outputs = pending.popleft()
            arrays = jax.device_get(outputs)
            done.append(jax.tree.map(lambda array: array[:count], arrays))

        for count, placed in data.prefetch(batches, 2, self._place):
            outputs = [function(self._kept, placed) for function in functions]
            pending.append((count, outputs))
            if len(pending) > IN_FLIGHT:
                fetch()
        while pending:
            fetch()
        if not done:
            raise UserError("no pictures are given")
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *done)

    def _place(self, batch: Any) -> tuple[int, Any]:
        """Return how many rows there are, and all on the devices, filled up.

        The last row is repeated, as in an evaluation.
        """
        count = len(jax.tree.leaves(batch)[0])
        rows = np.minimum(np.arange(self.batch_size), count - 1)
        if count < self.batch_size:
            batch = jax.tree.map(lambda array: array[rows], batch)
        return count, jax.device_put(batch, self._rows)

    @property
    def _rows(self) -> jax.sharding.Sharding:
        """Return where a batch lies: split over the devices where they divide it."""
        mesh = self.mesh
        if self.batch_size % mesh.size:
            return devices.replicated(mesh)
        return devices.split_by_rows(mesh)
