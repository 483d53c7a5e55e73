"""ArrayRecord files of ours: a record is a line of JSON, and an image file's bytes.

    {"name": "cat/001.jpg", "label": "cat"}\\n<the bytes of 001.jpg>

`label` is a number or a name. Records are found by their number; the library,
array_record, reads them without TensorFlow.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tokenjax.data.shards.listing import LARGEST_IMAGE, Listing, ListingBuilder
from tokenjax.data.shards.tar_files import read_label
from tokenjax.errors import DatasetError, first_line, shown

if TYPE_CHECKING:
    from array_record.python.array_record_module import ArrayRecordReader

ENDINGS = (".array_record", ".arrayrecord")
LISTED_AT_ONCE = 256  # records, whole images among them


def encode_record(name: str, label: str, content: bytes) -> bytes:
    """Return the record of an image file's content."""
    head = json.dumps({"name": name, "label": label}).encode("utf-8")
    return head + b"\n" + content


def decode_record(record: bytes, where: str) -> tuple[str, str, bytes]:
    """Return name, label and the image file's content.

    Raises: DatasetError for a record that is none of ours; `where` says which.
    """
    head, _, content = record.partition(b"\n")
    try:
        found = json.loads(head)
        return str(found["name"]), read_label(found["label"]), content
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{where} is no line of JSON with name and label, and an image after it "
            "(what TFDS wrote is read by data.source=tfds)"
        ) from error


def open_records(path: Path) -> "ArrayRecordReader":
    """Open a file of records.

    Raises: DatasetError for one that is damaged, and where the library is missing.
    """
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise DatasetError(
            "array_record files are read with array_record, which is not installed: "
            "pip install array_record"
        ) from error
    try:
        with open(path, "rb"):  # the library says nothing of why it cannot
            pass
    except OSError as error:
        raise DatasetError(
            f"{shown(path)} cannot be opened: {error.strerror}"
        ) from error
    reader = array_record_module.ArrayRecordReader(str(path))
    if not reader.ok():
        raise DatasetError(
            f"{shown(path)} is no whole ArrayRecord file: it may have been cut"
        )
    return reader


def list_records(path: Path) -> Listing:
    """List a file's examples, which reads all of it.

    Raises: DatasetError, naming file and record, for what is damaged or not ours.
    """
    builder = ListingBuilder()
    reader = open_records(path)
    count = reader.num_records()
    for start in range(0, count, LISTED_AT_ONCE):
        stop = min(start + LISTED_AT_ONCE, count)
        try:
            records = reader.read(start, stop)
        except Exception as error:  # whatever the damage led to
            raise DatasetError(
                f"{shown(path)} is damaged within records {start} to {stop - 1}: "
                f"{first_line(error)}"
            ) from error
        for number, record in enumerate(records, start):
            where = f"{shown(path)}: record {number}"
            name, label, content = decode_record(record, where)
            if len(content) > LARGEST_IMAGE:
                raise DatasetError(f"{where} has 4 GiB or more")
            builder.add(name, number, len(content), label)
    return builder.finish()
