"""Opening a TFDS set without waiting: prepared here, or one sentence that says how.

TFDS itself spends 200 s on retries when there is no network, and says nothing before.
"""

import importlib.util
import os
import queue
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tokenjax.errors import DatasetError, first_line

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

PROBE_SECONDS = 3.0


def reachable(urls: Iterable[str], seconds: float) -> bool:
    """Return whether any host of `urls` answers a connection within `seconds`.

    In daemon threads: resolving a name has no time limit of its own.
    """
    parsed = [urllib.parse.urlsplit(url) for url in urls]
    hosts = {(url.hostname, 80 if url.scheme == "http" else 443) for url in parsed}
    answers: queue.Queue[bool] = queue.Queue()

    def probe(address: tuple[str, int]) -> None:
        try:
            socket.create_connection(address, timeout=seconds).close()
            answers.put(True)
        except OSError:
            answers.put(False)

    for address in hosts:
        threading.Thread(target=probe, args=(address,), daemon=True).start()
    try:
        return any(answers.get(timeout=seconds) for _ in hosts)
    except queue.Empty:
        return False


def open_builder(name: str, data_dir: str, download: bool) -> "DatasetBuilder":
    """Open the TFDS builder of a prepared set, or raise how to prepare it.

    Raises: DatasetError.
    """
    # Before TensorFlow is imported, by TFDS or by us; otherwise it logs a page.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise DatasetError(
            f"tfds: {name!r} is read with tensorflow-datasets, which is not installed: "
            "pip install tensorflow-datasets"
        )
    import tensorflow_datasets

    where = str(Path(data_dir).expanduser()) if data_dir else None
    builder = _find_builder(name, where)
    if builder.is_prepared():
        return builder
    root = builder.data_dir_root if hasattr(builder, "data_dir_root") else where
    command = f"tfds build {name} --file_format=array_record"
    command += f" --data_dir={root}" if root else ""
    if not download:
        raise DatasetError(
            f"tfds: {name} is not prepared in {builder.data_dir}: run `{command}` "
            "where there is a network (and copy the folder), or set download=True"
        )
    urls = list(builder.url_infos)
    if urls and not urllib.request.getproxies() and not reachable(urls, PROBE_SECONDS):
        raise DatasetError(
            f"tfds: {name} is not prepared in {builder.data_dir} and cannot be "
            f"downloaded, no connection to {urllib.parse.urlsplit(urls[0]).hostname}: "
            f"run `{command}` where there is a network and copy the folder"
        )
    builder = tensorflow_datasets.builder(
        name, data_dir=where, try_gcs=False, file_format="array_record"
    )
    try:
        builder.download_and_prepare()
    except Exception as error:  # network, checksum, disk, files to fetch by hand
        raise DatasetError(f"tfds: preparing {name} failed: {error}") from error
    return builder


def _find_builder(name: str, where: str | None) -> "DatasetBuilder":
    import tensorflow_datasets

    try:
        return tensorflow_datasets.builder(name, data_dir=where, try_gcs=False)
    except tensorflow_datasets.core.registered.DatasetNotFoundError as error:
        raise DatasetError(
            f"tfds: no dataset {name!r} in the TFDS catalogue or prepared in "
            f"{where or 'the default data_dir'} (names: `tfds.list_builders()`)"
        ) from error
    except Exception as error:  # an unknown version "name/what", damaged descriptions
        raise DatasetError(
            f"tfds: {name!r} cannot be opened: {first_line(error)}"
        ) from error
