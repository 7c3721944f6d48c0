import gzip
import io
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from fraud_pipeline.adapters.source import TransactionColumns, TransactionTable
from fraud_pipeline.adapters.tabular_files import parse_text_table, read_text_table
from fraud_pipeline.core.errors import InputFileError
from fraud_pipeline.core.schema import TRANSACTION_FIELDS

COLUMNS = TransactionColumns(transaction_id="id", user_id="card", merchant_id="shop", event_time="time", amount="value")
HEADER = b"id,card,shop,time,value\n"
GOOD = {"id": ["1", "2"], "card": ["a", "b"], "shop": ["x", "y"], "time": ["t", "u"], "value": ["0.5", "7"]}
CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00"), min_size=1)


def table(**settings: Any) -> TransactionTable:  # noqa: ANN401  # any key of the description
    return TransactionTable(files="*", columns=COLUMNS, **settings)


def read(data: bytes, name: str = "day.csv", **settings: object) -> list[list[object]]:
    frame = parse_text_table(data, name, table(**settings))
    assert list(frame) == list(TRANSACTION_FIELDS)
    assert set(frame.dtypes.astype("str")) == {"str"}
    cells: list[list[object]] = frame.astype("object").where(frame.notna(), None).to_numpy().tolist()
    return cells


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(GOOD | columns), buffer)
    return buffer.getvalue()


def read_values(values: object, **settings: object) -> list[object]:
    return [row[-1] for row in read(parquet(value=values), "day.parquet", **settings)]


def test_cells_are_as_received() -> None:
    rows = read(HEADER + b'007, a ,NA,null,1e5\n"x,y","say ""no""","two\nlines",\xc3\xa9,nan\n')
    assert rows == [["007", " a ", "NA", "null", "1e5"], ["x,y", 'say "no"', "two\nlines", "é", "nan"]]


def test_only_an_empty_cell_is_missing() -> None:
    assert read(HEADER + b'1,,"",-, \n') == [["1", None, None, "-", " "]]


def test_other_columns_and_their_order_do_not_matter() -> None:
    data = b"value,channel,time,shop,card,id,channel\n5,chip,t,s,c,1,x\n"
    assert read(data) == [["1", "c", "s", "t", "5"]]


@pytest.mark.parametrize("data", [HEADER, HEADER.strip(), HEADER + b"\n\n"])
def test_a_header_alone_is_no_rows(data: bytes) -> None:
    assert read(data) == []


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n", b"\r"])
def test_any_line_break_and_none_at_the_end_will_do(line_break: bytes) -> None:
    assert read(line_break.join([HEADER.strip(), b"1,2,3,4,5", b"6,7,8,9,0"])) == [list("12345"), list("67890")]


def test_byte_order_mark_delimiter_and_encoding() -> None:
    assert read(b"\xef\xbb\xbf" + HEADER + b"1,2,3,4,5\n") == [list("12345")]
    assert read(HEADER.replace(b",", b"\t") + b"1\t2\t3\t4\t5,0\n", delimiter="\t") == [["1", "2", "3", "4", "5,0"]]
    assert read(HEADER + b"1,caf\xe9,3,4,5\n", encoding="latin-1") == [["1", "café", "3", "4", "5"]]
    assert read((HEADER + b"1,2,3,4,5").decode().encode("utf-16"), encoding="utf-16") == [list("12345")]


def test_format_comes_from_the_ending_or_the_source() -> None:
    assert read(gzip.compress(HEADER + b"1,2,3,4,5\n"), "day.csv.gz") == [list("12345")]
    assert read(HEADER + b"1,2,3,4,5\n", "day.txt", format="csv") == [list("12345")]
    assert read(parquet(), "day.csv", format="parquet")[0] == ["1", "a", "x", "t", "0.5"]
    with pytest.raises(InputFileError, match=r"day\.txt ends in neither .*: set the format in the source"):
        read(HEADER, "day.txt")


@given(st.lists(st.tuples(CELL, CELL, CELL, CELL, CELL), max_size=4))
@settings(deadline=None)
def test_any_cells_survive_csv(rows: list[tuple[str, ...]]) -> None:
    quoted = ["".join(f'"{cell.replace(chr(34), chr(34) * 2)}",' for cell in row)[:-1] for row in rows]
    assert read(HEADER + "\n".join(quoted).encode()) == [list(row) for row in rows]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", r"is empty \(0 bytes\): have the file delivered again"),
        (b"\n", "is not a complete csv file"),
        (HEADER.replace(b"value", b"price"), "has no column 'value' for amount; it has id, card, shop, time, price"),
        (HEADER.replace(b"shop", b"id"), "has the column 'id' twice"),
        (HEADER + b"1,2,3,4,5\n1,2,3,4\n", "row 2: 4 cells where the header has 5; check delimiter and quotes"),
        (HEADER + b"1,2,3,4,5,6\n", "row 1: 6 cells where the header has 5"),
        (HEADER + b'\n"1\n1",2,3,4,5\n\n1\n', "row 2: 1 cells where the header has 5"),
        (HEADER + b'1,2,3,4,5\n1,2,3,4,"5\n1,2,3,4,5\n1,"2,3,4,5\n', "row 2: "),
        (HEADER + b'1,2,"3,4,5\n', "row 1: 3 cells"),
        (HEADER + b"1,2,3,4,5\n1,\xff,3,4,5\n", r"line 3: byte 36 of the file is not utf-8; set the encoding"),
        (b"x" * 3_000_000, "is not a complete csv file .no header line."),
    ],
)
def test_a_bad_csv_file_is_refused_whole(data: bytes, complaint: str) -> None:
    with pytest.raises(InputFileError, match=rf"^day\.csv.*{complaint}"):
        read(data)


@pytest.mark.parametrize("cut", [5, 30, -5])
def test_truncated_or_broken_gzip_is_refused(cut: int) -> None:
    whole = gzip.compress(HEADER + b"1,2,3,4,5\n" * 100)
    broken = bytearray(whole)
    broken[20:30] = b"\xff" * 10
    for data in (whole[:cut], bytes(broken), HEADER):
        with pytest.raises(InputFileError, match=r"day\.csv\.gz is not a complete csv file"):
            read(data, "day.csv.gz")


@pytest.mark.parametrize("cut", [1, 100, -10])
def test_a_truncated_parquet_file_is_refused(cut: int) -> None:
    with pytest.raises(
        InputFileError, match=r"day\.parquet is not a complete parquet file .*: have the file delivered"
    ):
        read(parquet()[:cut], "day.parquet")


def test_parquet_columns_are_checked_like_those_of_csv() -> None:
    with pytest.raises(InputFileError, match=r"day\.parquet has no column 'card' for user_id; it has id, shop"):
        read(parquet_of(["id", "shop"]), "day.parquet")
    with pytest.raises(InputFileError, match="has the column 'id' twice"):
        read(parquet_of(["id", "id", "card", "shop", "time", "value"]), "day.parquet")
    assert read(parquet_of(["x", "x", "value", "time", "shop", "card", "id"]), "day.parquet") == [list("65432")]


def parquet_of(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([str(number)]) for number in range(len(names))], names), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["07", None]), ["07", None]),
        (pa.array(["a", ""], pa.large_string()), ["a", ""]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([2**63 - 1, None]), ["9223372036854775807", None]),
        (pa.array([0.1, 1e22]), ["0.1", "1e+22"]),
        (pa.array([np.nan, np.inf]), ["nan", "inf"]),
        (pa.array([0.1, 12.5], pa.float32()), ["0.1", "12.5"]),
        (pa.array([Decimal("12.50"), None]), ["12.50", None]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([None, None]), [None, None]),
        (pa.array([date(2026, 1, 31), None]), ["2026-01-31", None]),
        (pa.array([datetime(2026, 1, 31, 8, 15), None]), ["2026-01-31T08:15:00.000000", None]),  # noqa: DTZ001
        (
            pa.array([datetime(2026, 1, 31, 8, 15, tzinfo=timezone(timedelta(hours=1))), None]),
            ["2026-01-31T07:15:00.000000+00:00", None],
        ),
        (
            pa.array([1, 2]).cast(pa.timestamp("ns", "Europe/Paris")),
            ["1970-01-01T00:00:00.000000001+00:00", "1970-01-01T00:00:00.000000002+00:00"],
        ),
        (pa.array([b"a", b"b"]), ["a", "b"]),
    ],
)
def test_typed_values_become_text_without_loss(values: pa.Array, expected: list[object]) -> None:
    assert read_values(values) == expected


@given(st.lists(st.tuples(st.floats(allow_nan=False), st.datetimes(timezones=st.just(UTC))), min_size=1))
@settings(deadline=None)
def test_any_number_and_instant_can_be_read_back(rows: list[tuple[float, datetime]]) -> None:
    numbers, times = (list(column) for column in zip(*rows, strict=True))
    columns = {name: pa.array(["x"] * len(rows)) for name in GOOD}
    columns |= {"value": pa.array(numbers), "time": pa.array(times, pa.timestamp("us", "Europe/Paris"))}
    cells = read(parquet(**columns), "day.parquet")
    assert [float(str(row[-1])) for row in cells] == numbers
    assert [datetime.fromisoformat(str(row[-2])) for row in cells] == times


@pytest.mark.parametrize("values", [pa.array([[1], [2]]), pa.array([{"a": 1}, None])])
def test_a_column_of_nested_values_is_refused(values: pa.Array) -> None:
    with pytest.raises(InputFileError, match=r"day\.parquet, column value: values of type .* are no cells"):
        read_values(values)


@pytest.mark.parametrize("values", [pa.array([b"a", b"\xff"]), pa.array([b"a", b"\xff"]).view(pa.string())])
def test_bytes_that_are_no_text_are_refused(values: pa.Array) -> None:
    with pytest.raises(InputFileError, match="is not a complete parquet file"):
        read_values(values)


def test_a_decimal_comma_becomes_a_point_and_a_point_cannot_be_one() -> None:
    rows = read(HEADER + b'"1,5",a,s,t,"12,50"\n2,a,s,t,1.234\n3,a,s,t,"1.234,50"\n4,a,s,t,\n', decimal=",")
    assert [row[-1] for row in rows] == ["12.50", "1,234", "1,234.50", None]
    assert rows[0][0] == "1,5"


def test_a_decimal_comma_is_for_text_only() -> None:
    assert read_values(pa.array([12.5, None]), decimal=",") == ["12.5", None]
    assert read_values(pa.array(["12,5", "1.2"]), decimal=",") == ["12.5", "1,2"]
    assert read_values(pa.array(["12,5", "1.2"]).dictionary_encode(), decimal=",") == ["12.5", "1,2"]


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_bytes(HEADER + b"1,2,3,4,5\n")
    frame = read_text_table(UPath(tmp_path / "day.csv"), table())
    pd.testing.assert_series_equal(frame["amount"], pd.Series(["5"], name="amount", dtype="str"))
    with pytest.raises(InputFileError, match=r"night\.csv does not exist: check the path"):
        read_text_table(UPath(tmp_path / "night.csv"), table())


def test_a_field_of_ten_million_characters_is_read_as_received() -> None:
    long = "9" * 10_000_000
    assert read(HEADER + f"1,a,s,t,{long}\n2,{long},s,t,5\n".encode()) == [
        ["1", "a", "s", "t", long],
        ["2", long, "s", "t", "5"],
    ]
    assert read(gzip.compress(HEADER + f'1,"{long}\n",s,t,5\n'.encode()), "day.csv.gz")[0][1] == f"{long}\n"


@pytest.mark.parametrize(
    ("thousands", "decimal", "text", "plain"),
    [
        (",", ".", "1,234.50", "1234.50"),
        (",", ".", " -1,234,567 ", " -1234567 "),
        (",", ".", "12,34", "12,34"),
        (",", ".", "1234,567", "1234,567"),
        (",", ".", "1,5", "1,5"),
        (",", ".", "999", "999"),
        (".", ",", "1.234,50", "1234.50"),
        (".", ",", "1,5", "1.5"),
        (".", ",", "1.5", "1,5"),
        ("'", ".", "1'234'567.8", "1234567.8"),
        (" ", ",", "1 234,5", "1234.5"),
    ],
)
def test_declared_thousands_separators_are_taken_out_of_whole_groups(
    thousands: str, decimal: str, text: str, plain: str
) -> None:
    rows = read(HEADER + f'1,a,s,t,"{text}"\n2,a,s,t,\n'.encode(), thousands=thousands, decimal=decimal)
    assert [row[-1] for row in rows] == [plain, None]


@given(st.integers(-(10**12), 10**12))
@settings(deadline=None, max_examples=50)
def test_any_grouped_number_can_be_read_back(number: int) -> None:
    assert read(HEADER + f'1,a,s,t,"{number:,}"\n'.encode(), thousands=",")[0][-1] == str(number)


@pytest.mark.parametrize(
    ("time_format", "text", "iso"),
    [
        ("%d.%m.%Y %H:%M:%S", " 31.01.2026 08:15:01 ", "2026-01-31T08:15:01.000000"),
        ("%m/%d/%Y %I:%M %p", "01/31/2026 08:15 PM", "2026-01-31T20:15:00.000000"),
        ("%Y%m%d%H%M%S.%f", "20260131081501.25", "2026-01-31T08:15:01.250000"),
        ("%d.%m.%Y %H:%M %z", "31.01.2026 08:15 +0100", "2026-01-31T07:15:00.000000+00:00"),
        ("%d.%m.%Y %H:%M", "31.02.2026 08:15", "31.02.2026 08:15"),
        ("%d.%m.%Y %H:%M", "2026-01-31T08:15", "2026-01-31T08:15"),
        ("%d.%m.%Y %H:%M", "soon", "soon"),
    ],
)
def test_times_of_a_declared_format_become_iso_and_others_stay(time_format: str, text: str, iso: str) -> None:
    rows = read(HEADER + f"1,a,s,{text},5\n2,a,s,,5\n".encode(), time_format=time_format)
    assert [row[3] for row in rows] == [iso, None]


def test_typed_times_and_numbers_need_no_format() -> None:
    times = pa.array([datetime(2026, 1, 31, 8, 15, tzinfo=UTC), None])
    cells = read(parquet(time=times, value=pa.array([1234.5, None])), "day.parquet", time_format="%d.%m.%Y %H:%M")
    assert [row[3:] for row in cells] == [["2026-01-31T08:15:00.000000+00:00", "1234.5"], [None, None]]
