"""The forms of a table: text, Markdown and CSV of the same columns."""

import pytest

from tokenjax import tables
from tokenjax.tables import Column

COLUMNS = (
    Column("Name", lambda row: row["name"]),
    Column("Count", lambda row: row["count"], ","),
    Column("Share(%)", lambda row: row["share"], ".1f"),
)
ROWS = [
    {"name": "a long name", "count": 12_345, "share": 1 / 3},
    {"name": "b, c", "count": 6, "share": None},
]


def test_text():
    assert tables.text_lines(ROWS, COLUMNS) == [
        "Name          Count  Share(%)",
        "-----------  ------  --------",
        "a long name  12,345       0.3",
        "b, c              6         -",
    ]
    assert tables.text_lines([], COLUMNS[:2]) == ["Name  Count", "----  -----"]


def test_markdown():
    assert tables.markdown(ROWS, COLUMNS) == (
        "| Name | Count | Share(%) |\n"
        "| --- | --- | --- |\n"
        "| a long name | 12,345 | 0.3 |\n"
        "| b, c | 6 | – |\n"
    )


def test_csv(tmp_path):
    path = tmp_path / "table.csv"
    tables.write_csv(ROWS, path, COLUMNS)
    assert path.read_text().splitlines() == [
        "Name,Count,Share(%)",
        "a long name,12345,0.333333",
        '"b, c",6,',
    ]
    with pytest.raises(KeyError):
        tables.write_csv([*ROWS, {}], path, COLUMNS)
    assert len(path.read_text().splitlines()) == 3  # the old file is kept
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [None, float("nan")])
def test_what_was_not_measured_stands_as_no_number(tmp_path, value):
    rows = [{"name": "a", "count": value, "share": value}]
    assert tables.text_lines(rows, COLUMNS)[-1].split() == ["a", "-", "-"]
    assert tables.markdown(rows, COLUMNS).endswith("| a | – | – |\n")
    tables.write_csv(rows, tmp_path / "table.csv", COLUMNS)
    assert (tmp_path / "table.csv").read_text().splitlines()[-1] == "a,,"
    assert tables.shown(value, ".2%") == "not measured"
    assert tables.shown(0.0, ".2%") == "0.00%"
