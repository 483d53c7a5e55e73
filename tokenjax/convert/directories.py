"""What lies beside published weights: Hugging Face's and timm's JSON files.

    config.json               the settings that no shape tells, the names of classes
    preprocessor_config.json  what is done to a picture before the network sees it

They are read for what they say and for nothing else; no code is run, nothing fetched.
"""

import json
import pathlib
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

from tokenjax.convert.facts import NOTHING, Preprocessing
from tokenjax.errors import ConversionError, first_line, shown

_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
_ACTIVATIONS = {"gelu": "gelu", "quick_gelu": "quick_gelu"}
_DINO = {"layer_norm_eps": 1e-6, "hidden_act": "gelu", "image_size": 224}
_DEFAULTS = {  # of transformers, for what a config.json leaves out
    "vit": {"layer_norm_eps": 1e-12, "hidden_act": "gelu", "image_size": 224},
    "deit": {"layer_norm_eps": 1e-12, "hidden_act": "gelu", "image_size": 224},
    "dinov2": _DINO,
    "dinov2_with_registers": _DINO,
    "clip_vision_model": {"layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"},
}
_HEADS = 12  # of each of these, likewise
_CLIP_EPSILON = 1e-5


class Beside(NamedTuple):
    """What the files say; None, or nothing, where they do not.

    Attributes:
      arguments: of the model, by our names.
      preprocessing: of pictures, and the classes.
      notes: sentences about what cannot be had as they say.
    """

    arguments: Mapping[str, Any] = types.MappingProxyType({})
    preprocessing: Preprocessing = NOTHING
    notes: tuple[str, ...] = ()


def read_beside(weights: pathlib.Path) -> Beside:
    """Read the JSON files beside a file of weights.

    Raises: ConversionError if one is no JSON object, or says what no model here does.
    """
    config = _read_object(weights.with_name("config.json"))
    processor = _read_object(weights.with_name("preprocessor_config.json"))
    try:
        if "pretrained_cfg" in config or "architecture" in config:
            return _read_timm(config)
        if "model_type" not in config and not processor:
            return Beside()  # a config.json of another kind
        arguments, classes = _read_transformers(config)
        read, notes = _read_processor(processor)
        return Beside(arguments, read._replace(classes=classes), notes)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConversionError(
            f"the JSON files beside {shown(weights)} cannot be understood: "
            f"{first_line(error)}"
        ) from error


def _read_object(path: pathlib.Path) -> dict[str, Any]:
    """Read a JSON object, empty if there is no such file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConversionError(
            f"{shown(path)} cannot be read: {first_line(error)}"
        ) from error
    if not isinstance(found, dict):
        raise ConversionError(f"{shown(path)} holds no JSON object")
    return found


def _read_timm(config: Mapping[str, Any]) -> Beside:
    pretrained = config.get("pretrained_cfg") or {}
    given = config.get("model_args") or {}
    arguments: dict[str, Any] = {}
    if "num_heads" in given:
        arguments["num_heads"] = int(given["num_heads"])
    if "img_size" in given:
        arguments["img_size"] = _side_or_size(given["img_size"])
    for key in ("global_pool", "fc_norm"):
        if {**config, **given}.get(key) is not None:
            arguments[key] = given.get(key, config.get(key))
    labels = config.get("label_names") or pretrained.get("label_names")
    read = Preprocessing(
        tuple(map(str, labels)) if labels else None,
        _floats(pretrained.get("mean")),
        _floats(pretrained.get("std")),
        _float(pretrained.get("crop_pct")),
        pretrained.get("interpolation"),
    )
    return Beside(arguments, read)


def _read_transformers(
    config: Mapping[str, Any],
) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    """Return arguments, and classes, of a config.json of transformers."""
    labels = config.get("id2label") or {}
    names = tuple(str(labels[key]) for key in sorted(labels, key=int))
    generic = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    classes = None if generic else names
    kind = config.get("model_type", "")
    if kind == "clip":
        kind, config = "clip_vision_model", config.get("vision_config") or {}
    if kind not in _DEFAULTS:
        return {}, classes
    config = {**_DEFAULTS[kind], **config}
    heads = int(config.get("num_attention_heads", _HEADS))
    arguments: dict[str, Any] = {"activation": _activation(config["hidden_act"])}
    epsilon = float(config["layer_norm_eps"])
    if kind == "clip_vision_model":
        if epsilon != _CLIP_EPSILON:
            raise ConversionError(
                f"config.json: layer_norm_eps is {epsilon}, clip_vit's {_CLIP_EPSILON}"
            )
        return {**arguments, "heads": heads}, classes
    image_size = _side_or_size(config["image_size"])
    arguments |= {"num_heads": heads, "norm_eps": epsilon, "img_size": image_size}
    return arguments, classes


def _activation(name: object) -> str:
    if name not in _ACTIVATIONS:
        raise ConversionError(
            f"config.json: hidden_act is {name!r}; there are {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[str(name)]


def _read_processor(
    processor: Mapping[str, Any],
) -> tuple[Preprocessing, tuple[str, ...]]:
    """Return what a preprocessor_config.json says of pictures, and notes."""
    notes: tuple[str, ...] = ()
    crop = None
    size = processor.get("size")
    if processor.get("do_resize", True) and size is not None:
        sides = size if isinstance(size, Mapping) else {"height": size}
        side = sides["shortest_edge" if "shortest_edge" in sides else "height"]
        if processor.get("do_center_crop"):
            cut = processor.get("crop_size", side)
            cut = cut["height"] if isinstance(cut, Mapping) else cut
            crop = float(cut) / float(side)
        else:
            crop = 1.0
        if "shortest_edge" not in sides:
            notes = (
                "preprocessor_config.json stretches pictures that are no squares; here "
                "the middle square is taken",
            )
    normalised = processor.get("do_normalize", True)
    read = Preprocessing(
        mean=_floats(processor.get("image_mean")) if normalised else None,
        std=_floats(processor.get("image_std")) if normalised else None,
        crop=crop,
        interpolation=_RESAMPLE.get(processor.get("resample", -1)),
    )
    return read, notes


def _side_or_size(value: Any) -> int | tuple[int, int]:
    """Return a side, or (height, width) of what is no square."""
    if isinstance(value, int):
        return value
    height, width = (int(side) for side in value)
    return height if height == width else (height, width)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _floats(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(map(float, values))
