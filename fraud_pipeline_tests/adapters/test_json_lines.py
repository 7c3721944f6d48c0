"""JSON Lines are read to the letter, and a line that is none is named."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_pipeline.adapters.source import TransactionColumns, TransactionTable
from fraud_pipeline.adapters.tabular_files import parse_text_table
from fraud_pipeline.core.errors import InputFileError
from fraud_pipeline.core.schema import TRANSACTION_FIELDS

COLUMNS = TransactionColumns(transaction_id="id", user_id="card", merchant_id="shop", event_time="time", amount="value")
KEYS = ("id", "card", "shop", "time", "value")
GOOD = '{"id": "1", "card": "a", "shop": "b", "time": "t", "value": 5}\n'


def read(data: bytes | str, name: str = "day.jsonl", **described: Any) -> list[list[object]]:  # noqa: ANN401  # keys
    table = TransactionTable(files="*", columns=COLUMNS, **described)
    frame = parse_text_table(data.encode() if isinstance(data, str) else data, name, table)
    assert list(frame) == list(TRANSACTION_FIELDS)
    assert set(frame.dtypes.astype("str")) == {"str"}
    cells: list[list[object]] = frame.astype("object").where(frame.notna(), None).to_numpy().tolist()
    return cells


def values(literal: str) -> object:
    return read(GOOD.replace("5", literal))[0][-1]


def test_an_object_a_line_becomes_a_row_whatever_its_order_and_other_keys() -> None:
    text = '{"value":"5","x":{"deep":[1]},"id":"007","time":"t","shop":" s ","card":"\\u00e9"}\n\n' + GOOD
    assert read(text) == [["007", "é", " s ", "t", "5"], ["1", "a", "b", "t", "5"]]


@pytest.mark.parametrize(
    ("literal", "text"),
    [("12.50", "12.50"), ("1e3", "1e3"), ("123456789012345678901234", "123456789012345678901234"), ("-0.0", "-0.0"),
     ("true", "true"), ("false", "false"), ("null", None), ('""', ""), ("NaN", "NaN"), ("Infinity", "Infinity"),
     ('"1,234.50"', "1,234.50")],
)  # fmt: skip
def test_values_keep_the_digits_they_are_written_with(literal: str, text: str | None) -> None:
    assert values(literal) == text


def test_a_key_that_an_object_lacks_is_a_missing_cell() -> None:
    assert read(GOOD + '{"id": "2"}\n')[1] == ["2", None, None, None, None]


def test_gzip_encoding_byte_order_mark_and_other_endings() -> None:
    assert read(gzip.compress(GOOD.encode()), "day.jsonl.gz") == read(GOOD)
    assert read(GOOD, "day.txt", format="jsonl") == read(GOOD)
    assert read("\ufeff" + GOOD) == read(GOOD)
    assert read(GOOD.replace('"a"', '"é"').encode("latin-1"), encoding="latin-1")[0][1] == "é"
    assert read(GOOD.replace("\n", "\r\n") * 2) == read(GOOD * 2)


def test_only_line_feeds_end_a_row() -> None:
    assert read(GOOD.replace('"a"', '"a\u2028\x85b"'))[0][1] == "a\u2028\x85b"


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=5, max_size=5), max_size=5))
@settings(deadline=None)
def test_any_texts_survive(rows: list[list[str]]) -> None:
    lines = [json.dumps(dict(zip(KEYS, row, strict=True)), ensure_ascii=len(rows) % 2 == 0) for row in rows]
    assert read("\n".join(lines) + "\n") == rows


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (GOOD.replace("value", "price"), "has no column 'value' for amount; it has id, card, shop, time, price"),
        (GOOD + GOOD[:30], r"line 2 is no JSON \(.*\): one object a line .* delivered again"),
        (GOOD + "\n[1]\n", "line 3 is no JSON object: write each row as one object"),
        (GOOD + "7\n", "line 2 is no JSON object"),
        (GOOD.replace('"b"', '["b"]'), "line 1, column 'shop': an array is no cell; map a column of text"),
        (GOOD.replace('"b"', '{"b": 1}'), "line 1, column 'shop': an object is no cell"),
        (GOOD.replace('"shop"', '"id"'), "line 1 has the key 'id' twice: keep one of them"),
        (GOOD.replace('"b"', r'"\ud800"'), "line 1, column 'shop': an escape names half a character"),
        (GOOD.encode() + b'{"id": "\xff"}\n', "line 2: byte 71 of the file is not utf-8; set the encoding"),
        ("[" * 100_000 + "\n", "line 1 is no JSON"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_whole_and_the_line_named(data: str | bytes, complaint: str) -> None:
    with pytest.raises(InputFileError, match=rf"^day\.jsonl,? {complaint}|^day\.jsonl, {complaint}"):
        read(data)


def test_lines_without_any_object_are_no_rows() -> None:
    assert read("\n \n") == []


@pytest.mark.parametrize("cut", [5, 30, -5])
def test_a_truncated_gzip_is_refused(cut: int) -> None:
    with pytest.raises(InputFileError, match=r"day\.jsonl\.gz is not a complete jsonl file"):
        read(gzip.compress((GOOD * 100).encode())[:cut], "day.jsonl.gz")
