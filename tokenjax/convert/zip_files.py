"""Checks of a zip file before PyTorch's own reader, or ours, reads weights from it.

Nothing is ever unpacked to the disk. PyTorch's reader checks no checksums, and its
writer packs weights without compressing them: whoever does otherwise made a file that
grows when it is read.
"""

import pathlib
import zipfile

from tokenjax.errors import ConversionError, first_line, shown


def check(path: pathlib.Path) -> list[str]:
    """Check that a zip file of weights is whole, and return the names in it.

    Members of code/, which nobody reads, may be compressed.

    Raises: ConversionError for a file that is damaged, or that PyTorch did not write.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            problem = _problem(members, path.stat().st_size) or _damaged(archive)
    except Exception as error:  # zipfile raises whatever the damage led to
        raise ConversionError(
            f"{shown(path)}: not a whole zip file: {first_line(error)}"
        ) from error
    if problem:
        raise ConversionError(f"{shown(path)}: refused, {problem}")
    return [member.filename for member in members]


def _problem(members: list[zipfile.ZipInfo], size: int) -> str:
    names = [member.filename for member in members]
    for name in names:
        parts = pathlib.PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",) or parts[:1] == ("//",):
            return f"it names a file outside itself, {shown(name)}"
    if len(set(names)) < len(names):
        return "two files in it have the same name"
    stored = [member for member in members if _is_stored(member)]
    for member in members:
        if not _is_stored(member) and "/code/" not in member.filename:
            return (
                f"{shown(member.filename)} in it is compressed, and PyTorch compresses "
                "no weights"
            )
    total = sum(member.file_size for member in stored)
    if total > size:
        return f"it claims to hold {total} bytes and has {size}"
    return ""


def _damaged(archive: zipfile.ZipFile) -> str:
    for member in archive.infolist():
        if not _is_stored(member):
            continue
        try:
            with archive.open(member) as file:
                while file.read(2**20):
                    pass
        except zipfile.BadZipFile as error:
            return (
                f"{error}: it is damaged (or was saved without checksums, by "
                "torch.serialization.set_crc32_options)"
            )
    return ""


def _is_stored(member: zipfile.ZipInfo) -> bool:
    plain = member.compress_type == zipfile.ZIP_STORED
    return plain and member.compress_size == member.file_size
