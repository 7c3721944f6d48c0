"""Files of every format and every kind of bad input, from the command to the rows that are kept or rejected."""

import gzip
import io
import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from fraud_pipeline_tests.cli.conftest import FIRST_DAY, Deployment, assert_refused, files_of

COLUMNS = {"transaction_id": "id", "user_id": "card", "merchant_id": "shop", "event_time": "time", "amount": "value"}
HEADER = "id,card,shop,time,value\n"
LONG = "9" * 10_000_000
Rows = list[tuple[str, ...]]
ROWS: Rows = [
    ("é1", "c1", "s1", "2025-03-01T11:15:00+00:00", "1234.50"),
    ("é2", "c1", "s2", "2025-03-01T20:45:30+00:00", "-7.25"),
    ("é3", "c2", "s2", "2025-03-01T00:00:00+00:00", "0"),
]


def day(number: int) -> date:
    """Give the n-th day of the deployment, from 0."""
    return FIRST_DAY + timedelta(days=number)


def deliver(folder: Path, files: Mapping[str, str | bytes], name: str = "bank", **described: Any) -> Path:  # noqa: ANN401
    """Write files and the description of their source."""
    transactions = {"files": "*.*", "columns": COLUMNS} | described.pop("transactions", {})
    description = {"name": name, "currency": "EUR", "transactions": transactions} | described
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder.parent / f"{folder.name}.yaml").write_text(yaml.safe_dump(description))
    return folder


def ingest(deployment: Deployment, folder: Path) -> None:
    deployment.succeed("ingest", folder, "--source", folder.parent / f"{folder.name}.yaml")


def csv(*rows: tuple[str, ...]) -> str:
    return HEADER + "".join(",".join(row) + "\n" for row in rows)


def parquet(rows: Rows) -> bytes:
    frame = pd.DataFrame(rows, columns=list(COLUMNS.values()))
    frame = frame.assign(time=pd.to_datetime(frame["time"], format="ISO8601"), value=frame["value"].astype("float64"))
    buffer = io.BytesIO()
    frame[["value", "time", "shop", "card", "id"]].to_parquet(buffer)
    return buffer.getvalue()


def json_lines(rows: Rows) -> str:
    lines = ({**dict(zip(COLUMNS.values(), row, strict=True)), "value": float(row[-1])} for row in rows)
    return "".join(json.dumps(line | {"channel": "chip"}) + "\n" for line in lines)


def as_a_bank_writes(rows: Rows) -> bytes:
    """Write semicolons, commas and the clocks of Paris."""
    lines = ["channel;value;time;shop;id;card"]
    for identity, card, shop, time, value in rows:
        local = pd.Timestamp(time).tz_convert("Europe/Paris").strftime("%d.%m.%Y %H:%M:%S")
        amount = f"{float(value):,.2f}".translate(str.maketrans(",.", ".,"))
        lines.append(f"chip;{amount};{local};{shop};{identity};{card}")
    return "\r\n".join(lines).encode("latin-1")


@pytest.fixture
def bank(tmp_path: Path, shared_folder: Path, database_url: str) -> Deployment:
    """Give a deployment with a database and nothing landed; no reject rate is too high."""
    # Nothing is registered here, and to make an empty registry takes half a minute.
    return Deployment(tmp_path / "home", {"FRAUD_PIPELINE_DATABASE_URL": database_url}).with_variables(
        max_reject_rate=1, mlflow_tracking_uri=f"sqlite:///{shared_folder}/no_models.db"
    )


def test_every_format_brings_the_same_rows(bank: Deployment, tmp_path: Path) -> None:
    def named(prefix: str) -> Rows:
        return [(prefix + identity, *rest) for identity, *rest in ROWS]

    name = f"export_{day(0):%Y%m%d}"
    dialect = {
        "delimiter": ";",
        "encoding": "latin-1",
        "decimal": ",",
        "thousands": ".",
        "time_format": "%d.%m.%Y %H:%M:%S",
    }
    deliveries: dict[str, tuple[dict[str, str | bytes], dict[str, Any]]] = {
        "csv": ({f"{name}.csv": as_a_bank_writes(named("csv"))},
                {"time_zone": "Europe/Paris", "transactions": dialect}),
        "csv-gz": ({f"{name}.csv.gz": gzip.compress(csv(*named("csv-gz")).encode())}, {}),
        "jsonl": ({f"{name}.jsonl": json_lines(named("jsonl"))}, {}),
        "jsonl-gz": ({f"{name}.jsonl.gz": gzip.compress(json_lines(named("jsonl-gz")).encode())}, {}),
        "parquet": ({f"{name}.parquet": parquet(named("parquet"))}, {}),
        "txt": ({f"{name}.txt": csv(*named("txt"))}, {"transactions": {"format": "csv"}}),
    }  # fmt: skip
    for source, (files, described) in deliveries.items():
        ingest(bank, deliver(tmp_path / source, files, source, **described))
    bank.succeed("run", "--from", day(0), "--to", day(0))
    assert bank.lake.read("rejected_transactions", day(0)).empty
    valid = bank.lake.read("validated_transactions", day(0))
    expected = sorted((ident, card, shop, pd.Timestamp(time), float(value)) for ident, card, shop, time, value in ROWS)
    for source in deliveries:
        rows = valid[valid["source_name"] == source]
        found = rows[list(COLUMNS)].assign(transaction_id=rows["transaction_id"].str.removeprefix(source))
        assert sorted(found.itertuples(index=False, name=None)) == expected, source
    assert len(bank.rows["transactions"]) == len(valid) == 3 * len(deliveries)


BAD_ROWS: list[tuple[tuple[str, ...], str]] = [
    (("t1", "u", "m", "2025-03-01T10:00Z", '"1,234.50"'), "amount has thousands separators"),
    (("t2", "u", "m", "2025-03-01T10:00Z", "NaN"), "amount is not a number"),
    (("t3", "u", "m", "2025-03-01T10:00Z", "-inf"), "amount is infinite"),
    (("t4", "u", "m", "2025-03-01T10:00Z", "ten"), "amount is not a number"),
    (("t5", "u", "m", "9999-12-31T23:59:59Z", "5"), "event_time is not on the day"),
    (("t6", "u", "m", "1772359200", "5"), "event_time is no ISO 8601 date"),
    (("t7", "u", "m", "2025-03-01T10:00Z", LONG), "amount is infinite"),
    (("t8", "u", "m", "2025-03-01T10:00Z", LONG + "x"), "amount is not a number"),
    (("t9", LONG, "m", "2025-03-01T10:00Z", "5"), "user_id is longer than 128 characters"),
    (("t10", "u", "m\x00", "2025-03-01T10:00Z", "5"), "merchant_id holds a control character"),
    (("t11", "", "m", "2025-03-01T10:00Z", "5"), "user_id is missing"),
    (("good", "u", "m", "2025-03-01T11:00Z", "6"), "transaction_id is a duplicate: row 1 of 2025-03-01.csv"),
]


def test_a_bad_row_is_rejected_with_its_reason_and_nothing_is_lost(bank: Deployment, tmp_path: Path) -> None:
    good = ("good", "u", "m", "2025-03-01T10:00Z", "5")
    twice = ("good", "u", "m", "2025-03-01T12:00Z", "7")
    again = ("good", "u", "m", f"{day(2)}T10:00Z", "8")
    files = {
        f"{day(0)}.csv": csv(good, *(row for row, _ in BAD_ROWS)),
        f"{day(0)}_second.csv": csv(twice, ("more", "u", "m", "2025-03-01T13:00Z", "1")),
        f"{day(1)}.csv": HEADER,
        f"{day(2)}.csv": csv(good, again),
    }
    ingest(bank, deliver(tmp_path / "export", files))
    bank.succeed("run", "--from", day(0), "--to", day(2))
    records = bank.lake.read("rejected_transactions", day(0)).to_dict("records")
    rejected = {(record["source_file"], record["row_number"]): record for record in records}
    for number, (row, reason) in enumerate(BAD_ROWS, start=2):
        found = rejected[f"{day(0)}.csv", number]
        assert str(found["reason"]).startswith(reason), row[0]
        assert found["transaction_id"] == row[0], "as received"
    across = rejected[f"{day(0)}_second.csv", 1]
    assert across["reason"] == f"transaction_id is a duplicate: row 1 of {day(0)}.csv"
    assert bank.lake.read("validated_transactions", day(0))["transaction_id"].tolist() == ["good", "more"]
    # A day without rows is a day, and an identity may come again on another day, but not for that day's row.
    assert bank.lake.read("validated_transactions", day(1)).empty
    late = bank.lake.read("rejected_transactions", day(2))
    assert late["reason"].str.startswith("event_time is not on the day").tolist() == [True]
    assert bank.lake.read("validated_transactions", day(2))["amount"].tolist() == [8.0]
    counts = {name: sum(len(bank.lake.read(f"{name}_transactions", day(number))) for number in range(3))
              for name in ("raw", "validated", "rejected")}  # fmt: skip
    assert counts == {"raw": 1 + len(BAD_ROWS) + 2 + 2, "validated": 3, "rejected": len(BAD_ROWS) + 2}
    assert len(bank.rows["rejected_transactions"]) == counts["rejected"]
    assert len(bank.rows["transactions"]) == counts["validated"]


def test_two_sources_may_reject_rows_of_the_same_number_from_files_of_the_same_name(
    bank: Deployment, tmp_path: Path
) -> None:
    for source in ("bank", "shop"):
        bad, good = (
            (f"{source}1", "c", "s", f"{day(0)}T10:00Z", "ten"),
            (f"{source}2", "c", "s", f"{day(0)}T11:00Z", "5"),
        )
        ingest(bank, deliver(tmp_path / source, {f"{day(0)}.csv": csv(bad, good)}, source))
    for _ in range(2):
        bank.succeed("run", "--from", day(0), "--to", day(0))
        rejected = bank.lake.read("rejected_transactions", day(0))
        assert rejected[["source_name", "source_file", "row_number"]].to_numpy().tolist() == [
            ["bank", f"{day(0)}.csv", 1],
            ["shop", f"{day(0)}.csv", 1],
        ]
        assert [row[1:4] for row in bank.rows["rejected_transactions"]] == [
            tuple(row) for row in rejected[["source_name", "source_file", "row_number"]].to_numpy().tolist()
        ]


GOOD_CSV = csv(*ROWS)
BAD_FILES: list[tuple[str, str | bytes, tuple[str, ...]]] = [
    (f"{day(1)}.csv", b"", ("is empty (0 bytes)", "delivered again")),
    (f"{day(1)}.csv", "\n", ("no header line", "delivered again")),
    (f"{day(1)}.csv", GOOD_CSV.replace("card", "user"), ("no column 'card' for user_id", "columns.user_id")),
    (f"{day(1)}.csv", GOOD_CSV.replace("shop", "id"), ("has the column 'id' twice", "keep one")),
    (f"{day(1)}.csv", GOOD_CSV + "1,2\n", ("row 4: 2 cells where the header has 5", "check delimiter")),
    (f"{day(1)}.csv", GOOD_CSV.encode() + b"\xff,c,s,t,1\n", ("line 5", "is not utf-8", "set the encoding")),
    (f"{day(1)}.csv", GOOD_CSV.encode("utf-16"), ("line 1", "is not utf-8", "set the encoding")),
    (f"{day(1)}.csv.gz", gzip.compress(GOOD_CSV.encode())[:-9], ("is not a complete csv file", "delivered again")),
    (f"{day(1)}.csv.gz", GOOD_CSV, ("is not a complete csv file", "delivered again")),
    (f"{day(1)}.parquet", parquet(ROWS)[:-20], ("is not a complete parquet file", "delivered again")),
    (f"{day(1)}.parquet", b"", ("is empty", "delivered again")),
    (f"{day(1)}.jsonl", json_lines(ROWS)[:-9], ("line 3 is no JSON", "delivered again")),
    (f"{day(1)}.jsonl", GOOD_CSV, ("line 1 is no JSON", "one object a line")),
    (f"{day(1)}.jsonl", json_lines(ROWS).replace('"c1"', "[1]"), ("line 1, column 'card': an array is no", "map a")),
    (f"{day(1)}.xlsx", b"PK", ("ends in neither", "set the format")),
    ("march.csv", GOOD_CSV, ("no day in the name", "rename the file")),
    (f"{day(-1)}.csv", GOOD_CSV, ("before the first day", "FRAUD_PIPELINE_FIRST_DAY")),
    ("2199-01-01.csv", GOOD_CSV, ("and today is", "correct the day in its name")),
    (f"{day(200)}.csv", GOOD_CSV, ("more than 120 days before the newest day", "FRAUD_PIPELINE_RETENTION_DAYS")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "words"), BAD_FILES, ids=[f"{n}-{w[0][:20]}" for n, _, w in BAD_FILES])
def test_a_bad_file_is_refused_by_name_and_leaves_nothing(
    deployment: Deployment, tmp_path: Path, name: str, content: str | bytes, words: tuple[str, ...]
) -> None:
    folder = deliver(tmp_path / "export", {f"{day(0)}.csv": GOOD_CSV, name: content})
    kept_short = deployment.with_variables(retention_days=120)
    if name == f"{day(200)}.csv":  # what is too old is the first file
        name = f"{day(0)}.csv"
    assert_refused(kept_short.run("ingest", folder, "--source", tmp_path / "export.yaml"), name, *words)
    assert files_of(deployment.home) == {}


def test_a_bad_file_that_was_dropped_stops_its_own_day_alone(bank: Deployment, tmp_path: Path) -> None:
    ingest(bank, deliver(tmp_path / "export", {f"{day(0)}.csv": GOOD_CSV}))
    dropped = Path(bank.settings.landing) / "bank" / "transactions" / f"{day(1)}.csv.gz"
    dropped.write_bytes(gzip.compress(GOOD_CSV.encode())[:-9])
    refused = bank.run("run", "--from", day(1), "--to", day(1))
    assert_refused(refused, f"bank/transactions/{day(1)}.csv.gz is not a complete csv file", "delivered again")
    bank.succeed("run", "--from", day(0), "--to", day(0))
    assert bank.lake.days("validated_transactions") == {day(0)}
    dropped.write_bytes(gzip.compress(csv().encode()))
    bank.succeed("run", "--from", day(1), "--to", day(1))
    assert bank.lake.days("validated_transactions") == {day(0), day(1)}
