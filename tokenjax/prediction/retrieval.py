"""Samples of several modalities -> the feature that a gallery is searched by."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import VariableDict

from tokenjax.errors import UserError, unknown_name
from tokenjax.models.contract import FEATURES
from tokenjax.prediction.pictures import Pictures, list_pictures, read_batches
from tokenjax.training import inference

if TYPE_CHECKING:
    from tokenjax.prediction.predictor import Predictor

CAMERA = "camera"  # among the images by modality, in a batch


def embed_samples(
    predictor: "Predictor",
    pictures: Mapping[str, Pictures],
    cameras: int | Sequence[int],
) -> np.ndarray:
    """Return float32 (n, c), the feature that the run is evaluated by.

    A modality that is left out is zeros to the network, as in an evaluation.

    Raises: UserError for another modality, or numbers of pictures that differ.
    """
    names = predictor.card.images.modalities
    found = {name: list_pictures(given) for name, given in pictures.items()}
    for name in found:
        if name not in names:
            raise UserError(unknown_name("modality", name, names))
    counts = {name: len(given) for name, given in found.items()}
    if len(set(counts.values())) != 1:
        raise UserError(f"every modality needs as many pictures, got {counts}")
    (count,) = set(counts.values())
    numbers = np.broadcast_to(np.asarray(cameras, np.int32), count)
    (vectors,) = predictor.run(
        _batches(predictor, found, numbers), _compile(predictor, tuple(found))
    )
    return vectors


def _batches(
    predictor: "Predictor", found: Mapping[str, Sequence[Any]], cameras: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    size = predictor.batch_size
    each = [
        read_batches(given, predictor.preparation, size) for given in found.values()
    ]
    for number, images in enumerate(zip(*each, strict=True)):
        rows = cameras[number * size : (number + 1) * size]
        yield {**dict(zip(found, images, strict=True)), CAMERA: rows}


def _compile(predictor: "Predictor", given: tuple[str, ...]) -> Any:
    """Return the function that embeds a batch with these modalities."""
    feature = _feature(predictor)

    def embed(variables: VariableDict, batch: Mapping[str, jax.Array]) -> jax.Array:
        images = {name: predictor.normalize(batch[name]) for name in given}
        empty = jnp.zeros_like(images[given[0]])
        every = predictor.card.images.modalities
        by_name = {name: images.get(name, empty) for name in every}
        outputs = predictor.model.apply(variables, by_name, batch[CAMERA])
        return outputs["features"][feature].astype(jnp.float32)

    return inference.compile_inference(predictor.mesh, embed)


def _feature(predictor: "Predictor") -> str:
    """Return the feature that the run is evaluated by, else all of them joined."""
    section = (predictor.card.config or {}).get("reid") or {}
    chosen = section.get("feature")
    return chosen if chosen in FEATURES else FEATURES[-1]
