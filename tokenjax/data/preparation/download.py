"""Downloads that are whole or absent: checked by MD5, resumed where they were cut.

What has come so far lies beside the file as NAME.part; the next try asks the server for
the rest. A part that the server does not go on with, and one that turns out to be
another file's, is fetched anew.
"""

import hashlib
import http.client
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tokenjax.data.sources.tfds_builder import PROBE_SECONDS, reachable
from tokenjax.errors import DatasetError, first_line, shown

BLOCK = 2**18  # bytes
SILENCE = 30.0  # seconds without a byte after which the server is given up
PARTIAL, NOT_SATISFIABLE = 206, 416  # HTTP's answers to a range


def fetch(url: str, path: Path, md5: str) -> None:
    """Download `url` to `path`, unless the file of that MD5 is there already.

    Raises: DatasetError if it cannot be had, saying what to put where, and for a file
      that is another one.
    """
    if path.is_file():
        check(path, md5)
        return
    by_hand = f"fetch {url} where there is a network and put it at {shown(path)}"
    direct = not urllib.request.getproxies()
    if direct and not reachable([url], PROBE_SECONDS):
        host = urllib.parse.urlsplit(url).hostname
        raise DatasetError(f"no connection to {host}: {by_hand}, then run this again")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        _fetch_rest(url, part)
    except (OSError, http.client.HTTPException) as error:
        kept = part.stat().st_size if part.is_file() else 0
        again = f"the same command goes on from byte {kept:,}; or " if kept else ""
        raise DatasetError(
            f"the download of {url} failed ({first_line(error)}): {again}{by_hand}"
        ) from error
    if digest(part) != md5:
        part.unlink()
        raise DatasetError(
            f"what {url} sent has another MD5 than {md5} and was removed: run this "
            f"again, or {by_hand}"
        )
    part.replace(path)


def check(path: Path, md5: str) -> None:
    """Raise DatasetError unless a file has that MD5."""
    found = digest(path)
    if found != md5:
        raise DatasetError(
            f"{shown(path)} has the MD5 {found}, where {md5} is due: it is not whole, "
            "or another file; remove it"
        )


def digest(path: Path) -> str:
    """Return the MD5 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest()


def _md5() -> "hashlib._Hash":
    # It tells a broken file, no forger; where MD5 is forbidden for that it still is.
    return hashlib.md5(usedforsecurity=False)


def _fetch_rest(url: str, part: Path) -> None:
    """Append to `part` what is missing of it."""
    from tqdm import tqdm

    begun = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url)
    if begun:
        request.add_header("Range", f"bytes={begun}-")
    try:
        answer = urllib.request.urlopen(request, timeout=SILENCE)
    except urllib.error.HTTPError as error:
        if begun and error.code == NOT_SATISFIABLE:  # it has all there is
            return
        raise
    with answer:
        if answer.status != PARTIAL:
            begun = 0
        length = answer.headers.get("Content-Length")
        total = begun + int(length) if length else None
        with (
            part.open("ab" if begun else "wb") as file,
            tqdm(
                desc=urllib.parse.urlsplit(url).path.rpartition("/")[2],
                total=total,
                initial=begun,
                unit="B",
                unit_scale=True,
            ) as bar,
        ):
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
            came = file.tell()
    if total is not None and came < total:
        raise ConnectionError(f"it was cut after {came:,} of {total:,} bytes")
