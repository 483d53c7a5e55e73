"""Reading of .safetensors files, with the number types that numpy itself lacks."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np

from tokenjax.errors import ConversionError, first_line, shown

_DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
    "BF16": np.dtype(jnp.bfloat16),
    "F8_E4M3": np.dtype(jnp.float8_e4m3fn),
    "F8_E5M2": np.dtype(jnp.float8_e5m2),
    "F8_E8M0": np.dtype(jnp.float8_e8m0fnu),
}


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Read key -> array; the format's own library has checked the file before.

    Raises: ConversionError for a damaged file, and numbers of a type unknown here.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, "numpy"):
            pass
        return _read_arrays(path)
    except (
        safetensors.SafetensorError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise ConversionError(
            f"{shown(path)}: not a whole safetensors file: {first_line(error)}"
        ) from error


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    arrays = {}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for key, entry in header.items():
            if entry["dtype"] not in _DTYPES:
                raise ConversionError(
                    f"{shown(path)}: {key} has numbers of type {entry['dtype']}, which "
                    "cannot be read"
                )
            start, end = entry["data_offsets"]
            file.seek(8 + length + start)
            raw = np.fromfile(file, np.uint8, end - start)
            arrays[key] = raw.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays
