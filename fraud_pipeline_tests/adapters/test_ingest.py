import gzip
import hashlib
import io
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fraud_pipeline.adapters import storage
from fraud_pipeline.adapters.ingest import IngestReport, ingest
from fraud_pipeline.adapters.label_files import by_known_day, read_labels
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.adapters.source import Source
from fraud_pipeline.core.errors import ConfigurationError, InputFileError
from fraud_pipeline.core.schema import TIME_DTYPE

DAY, NEXT_DAY = date(2026, 1, 31), date(2026, 2, 1)
HEADER = "id,card,shop,time,value\n"
ROW = "{},c,s,2026-01-31T08:00Z,5\n"
LABELS = "id,fraud,reported\n"
KNOWN_AT = {"transaction_id": "id", "is_fraud": "fraud", "label_known_at": "reported"}
BY_DELAY = {"transaction_id": "id", "is_fraud": "fraud", "event_day": "day"}


def source(labels: dict[str, Any] | None = None, **settings: Any) -> Source:  # noqa: ANN401  # keys of the YAML file
    columns = {
        "transaction_id": "id",
        "user_id": "card",
        "merchant_id": "shop",
        "event_time": "time",
        "amount": "value",
    }
    return Source.model_validate(
        {
            "name": "card_export",
            "currency": "EUR",
            "transactions": {"files": "transactions/*.csv", "columns": columns},
            "labels": {"files": "labels/*.csv", "columns": KNOWN_AT} | (labels or {}),
        }
        | settings
    )


def deliver(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def two_days() -> dict[str, str | bytes]:
    return {
        "transactions/2026-01-31.csv": HEADER + ROW.format(1),
        "transactions/2026-02-01.csv": HEADER,
        "labels/labels.csv": LABELS + "1,1,2026-02-01T00:30+01:00\n1,0,2026-02-01T12:00Z\n",
    }


def take_in(path: Path, zone: LandingZone, described: Source | None = None, **options: Any) -> IngestReport:  # noqa: ANN401
    return ingest(path, described or source(), zone, **{"currency": "EUR", "first_day": None} | options)


def label_rows(content: str, described: Source) -> pd.DataFrame:
    return read_labels(content.encode(), "labels.csv", "0" * 64, described)


@pytest.fixture
def zone(storage_root: str) -> LandingZone:
    return LandingZone(storage_root)


@pytest.fixture
def delivery(tmp_path: Path) -> Path:
    return deliver(tmp_path / "delivery", two_days())


def test_a_delivery_lands_as_it_is(delivery: Path, zone: LandingZone) -> None:
    named: list[str] = []
    report = take_in(delivery, zone, on_file=named.append)
    assert report == IngestReport(2, 1, 2, DAY, NEXT_DAY, 0)
    assert zone.sources() == [source()]
    assert [file.day for file in zone.transaction_files()] == [DAY, NEXT_DAY]
    for file in (delivery / "transactions").iterdir():
        assert storage.read(zone.root / "card_export" / "transactions" / file.name) == file.read_bytes()
    assert sorted(named) == ["2026-01-31.csv", "2026-02-01.csv", "labels.csv"]


def test_labels_land_on_the_utc_day_on_which_they_become_known(delivery: Path, zone: LandingZone) -> None:
    take_in(delivery, zone)
    first, second = zone.read_labels(DAY), zone.read_labels(NEXT_DAY)
    assert first["label_known_at"].tolist() == [pd.Timestamp("2026-01-31T23:30Z")]
    assert second["label_known_at"].tolist() == [pd.Timestamp("2026-02-01T12:00Z")]
    assert [*first["is_fraud"], *second["is_fraud"]] == [True, False]
    assert [*first["row_number"], *second["row_number"]] == [1, 2]
    digest = hashlib.sha256((delivery / "labels" / "labels.csv").read_bytes()).hexdigest()
    assert first[["source_name", "source_file", "file_sha256"]].to_numpy().tolist() == [
        ["card_export", "labels.csv", digest]
    ]


@pytest.mark.parametrize(("delay", "known"), [(0, DAY), (0.25, NEXT_DAY), (1, NEXT_DAY), (7.5, date(2026, 2, 8))])
def test_a_delay_is_rounded_up_to_whole_days(tmp_path: Path, zone: LandingZone, delay: float, known: date) -> None:
    described = source({"columns": BY_DELAY, "delay_days": delay})
    deliver(tmp_path / "delivery", {"labels/labels.csv": "id,fraud,day\n1,yes,2026-01-31\n"})
    report = take_in(tmp_path / "delivery", zone, described)
    assert report == IngestReport(0, 1, 1, None, None, 0)
    found = zone.read_labels(known)
    assert found["delay_days"].tolist() == [delay]
    assert found["event_day"].tolist() == ["2026-01-31"]
    assert found["label_known_at"].isna().all()


def test_ingesting_again_changes_nothing(delivery: Path, zone: LandingZone) -> None:
    take_in(delivery, zone)
    before = storage.list_files(zone.root)
    assert take_in(delivery, zone).unchanged_files == 3
    assert storage.list_files(zone.root) == before


def test_changed_and_new_files_are_taken_and_others_left_alone(delivery: Path, zone: LandingZone) -> None:
    take_in(delivery, zone)
    before = {file.key: file.etag for file in storage.list_files(zone.root)}
    changed = {"transactions/2026-02-01.csv": HEADER + ROW.format(2), "transactions/2026-02-02.csv": HEADER}
    assert take_in(deliver(delivery, changed), zone).unchanged_files == 2
    after = {file.key: file.etag for file in storage.list_files(zone.root)}
    assert {key for key in after if before.get(key) != after[key]} == {f"card_export/{name}" for name in changed}


def test_a_corrected_label_file_replaces_its_labels(delivery: Path, zone: LandingZone) -> None:
    take_in(delivery, zone)
    take_in(deliver(delivery, {"labels/labels.csv": LABELS + "1,0,2026-02-01T12:00Z\n"}), zone)
    assert len(zone.read_labels(DAY)) == 0
    assert zone.read_labels(NEXT_DAY)["is_fraud"].tolist() == [False]


def test_labels_move_when_the_delay_of_the_same_file_changes(tmp_path: Path, zone: LandingZone) -> None:
    path = deliver(tmp_path / "delivery", {"labels/labels.csv": "id,fraud,day\n1,yes,2026-01-31\n"})
    for delay, known, unchanged in [(1, NEXT_DAY, 0), (0, DAY, 0), (0, DAY, 1)]:
        report = take_in(path, zone, source({"columns": BY_DELAY, "delay_days": delay}))
        assert report.unchanged_files == unchanged
        assert [file.day for file in zone.label_files()] == [known]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("transactions/2026-02-02.csv", b"", r"2026-02-02\.csv is empty"),
        ("transactions/2026-02-02.csv", b"id\n", r"2026-02-02\.csv has no column 'card'"),
        ("transactions/2026-02-02.csv", HEADER + "1\n", r"2026-02-02\.csv, row 1: 1 cells"),
        ("transactions/2026-02-02.csv", HEADER.encode() + b"\xff", r"2026-02-02\.csv, line 2: byte 24"),
        ("transactions/notes.csv", HEADER, r"notes\.csv: no day in the name"),
        ("labels/late.csv", LABELS + "1\n", r"late\.csv, row 1: 1 cells"),
        ("labels/late.csv", LABELS + "1,maybe,2026-02-01T12:00Z\n", r"late\.csv, row 1, column 'fraud': 'maybe'"),
        ("labels/labels.csv.gz", b"", "labels.csv and .*labels.csv.gz go by the same name in the landing zone"),
    ],
)
def test_one_bad_file_refuses_the_delivery_whole(
    delivery: Path, zone: LandingZone, name: str, content: str | bytes, complaint: str
) -> None:
    deliver(delivery, {name: content})
    with pytest.raises(InputFileError, match=complaint):
        take_in(delivery, zone, source({"files": "labels/*"}))
    assert storage.list_files(zone.root) == []


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (
            "1,,2026-02-01T12:00Z",
            "column 'fraud': an empty cell cannot be used as is_fraud; add it to labels.true_values",
        ),
        ("1,2,2026-02-01T12:00Z", "column 'fraud': '2' cannot be used as is_fraud"),
        ("1,1,2026-02-01", "column 'reported': '2026-02-01' cannot be used as label_known_at; give an ISO 8601"),
        ("1,1,", "column 'reported': an empty cell cannot be used as label_known_at"),
        ("1,1,2026-03-29T02:30", "column 'reported': '2026-03-29T02:30' cannot be used"),
        ("1,1,0001-01-01T00:00", "column 'reported'"),
        ("1,1,9999-12-31T23:59-14:00", "column 'reported'"),
        (" ,1,2026-02-01T12:00Z", "column 'id': ' ' cannot be used as transaction_id; give an id"),
        (",1,2026-02-01T12:00Z", "column 'id': an empty cell"),
    ],
)
def test_a_bad_label_is_named_by_file_row_column_value_and_remedy(row: str, complaint: str) -> None:
    content = f"{LABELS}1,1,2026-02-01T12:00Z\n{row}\n"
    with pytest.raises(InputFileError, match=rf"^labels\.csv, row 2, {complaint}"):
        label_rows(content, source(time_zone="Europe/Paris"))


@pytest.mark.parametrize("day", ["", "2026-02-30", "31.01.2026", "9999-12-31", "2026-01-31T08:00", "2026-1-1"])
def test_a_bad_event_day_is_refused(day: str) -> None:
    with pytest.raises(
        InputFileError, match=r"row 1, column 'day': .* cannot be used as event_day; give a date such as"
    ):
        label_rows(f"id,fraud,day\n1,1,{day}\n", source({"columns": BY_DELAY, "delay_days": 7}))


@pytest.mark.parametrize(
    "day", ["2026-01-31", "20260131", " 2026-01-31", "2026-01-31T00:00:00.000", "2026-01-31 00:00"]
)
def test_an_event_day_may_be_written_in_several_ways(day: str) -> None:
    rows = label_rows(f"id,fraud,day\n1,1,{day}\n", source({"columns": BY_DELAY, "delay_days": 7}))
    assert rows["event_day"].tolist() == ["2026-01-31"]


def test_several_bad_labels_are_counted() -> None:
    with pytest.raises(
        InputFileError, match=r"row 1, column 'fraud': 'x' cannot be used as is_fraud \(and 2 more rows\)"
    ):
        label_rows(LABELS + "1,x,2026-02-01T12:00Z\n" * 3, source())


def test_words_of_the_source_decide_what_is_fraud() -> None:
    described = source({"true_values": ["CB"], "false_values": ["ok", "-"]})
    rows = label_rows(
        LABELS + "".join(f"1,{word},2026-02-01T12:00Z\n" for word in ("cb", " CB ", "OK", "-")), described
    )
    assert rows["is_fraud"].tolist() == [True, True, False, False]


def test_times_without_an_offset_are_in_the_zone_of_the_source() -> None:
    rows = label_rows(LABELS + "1,1,2026-02-01 00:30\n", source(time_zone="Europe/Paris"))
    assert rows["label_known_at"].tolist() == [pd.Timestamp("2026-01-31T23:30Z")]


def test_labels_need_a_description() -> None:
    with pytest.raises(ConfigurationError, match=r"describes no labels: add the key labels to read labels\.csv"):
        label_rows(LABELS, source().model_copy(update={"labels": None}))


def test_a_delivery_may_have_no_labels(delivery: Path, zone: LandingZone) -> None:
    report = take_in(delivery, zone, source().model_copy(update={"labels": None}))
    assert (report.transaction_files, report.label_files) == (2, 0)


def test_another_currency_is_refused(delivery: Path, zone: LandingZone) -> None:
    with pytest.raises(
        ConfigurationError, match=r"delivers EUR, this deployment reports in USD: .* FRAUD_PIPELINE_CURRENCY"
    ):
        take_in(delivery, zone, currency="USD")
    assert storage.list_files(zone.root) == []


def test_a_day_before_the_first_is_refused(delivery: Path, zone: LandingZone) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"2026-01-31\.csv is of 2026-01-31, before the first day 2026-02-01 .*PIPELINE_FIRST_DAY",
    ):
        take_in(delivery, zone, first_day=NEXT_DAY)
    assert storage.list_files(zone.root) == []
    assert take_in(delivery, zone, first_day=DAY).first_day == DAY


def test_a_path_without_files_is_refused(tmp_path: Path, zone: LandingZone) -> None:
    with pytest.raises(InputFileError, match=r"nothing matches transactions/\*\.csv or labels/\*\.csv; check the path"):
        take_in(tmp_path, zone)
    with pytest.raises(InputFileError, match="nowhere does not exist: give the folder or file to ingest"):
        take_in(tmp_path / "nowhere", zone)


def test_hidden_files_and_folders_are_passed_over(delivery: Path, zone: LandingZone) -> None:
    deliver(delivery, {"transactions/._2026-01-31.csv": b"\x00"})
    (delivery / "transactions" / "2026-02-03.csv").mkdir()
    assert take_in(delivery, zone).transaction_files == 2


def test_two_files_of_one_name_are_refused(delivery: Path, zone: LandingZone) -> None:
    deliver(delivery, {"more/2026-01-31.csv": HEADER})
    described = source(transactions=source().transactions.model_dump() | {"files": "*/2026*.csv"})
    with pytest.raises(InputFileError, match=r"more/2026-01-31\.csv and .*transactions/2026-01-31\.csv go by the same"):
        take_in(delivery, zone, described)


def test_a_name_that_cannot_be_kept_is_refused(delivery: Path, zone: LandingZone) -> None:
    deliver(delivery, {"transactions/..\\2026-01-31.csv": HEADER, "transactions/x\\..\\2026-02-05.csv": HEADER})
    with pytest.raises(InputFileError, match="is no plain file name"):
        take_in(delivery, zone)
    assert storage.list_files(zone.root) == []


@pytest.mark.parametrize(
    ("name", "counts"),
    [("transactions/2026-01-31.csv", (1, 0)), ("labels/labels.csv", (0, 1)), ("2026-01-31.csv", (1, 0))],
)
def test_a_single_file_is_told_by_the_patterns(
    tmp_path: Path, zone: LandingZone, name: str, counts: tuple[int, int]
) -> None:
    files: dict[str, str | bytes] = two_days() | {"2026-01-31.csv": HEADER}
    described = source({"files": "labels/labels*.csv"})
    report = take_in(deliver(tmp_path, files) / name, zone, described)
    assert (report.transaction_files, report.label_files) == counts


def test_a_single_label_file_is_known_by_its_name(tmp_path: Path, zone: LandingZone) -> None:
    described = source(transactions=source().transactions.model_dump() | {"files": "transactions/2026*.csv"})
    deliver(tmp_path, {"labels.csv": LABELS})
    assert take_in(tmp_path / "labels.csv", zone, described).label_files == 1


def test_a_single_file_that_may_be_either_is_refused(tmp_path: Path, zone: LandingZone) -> None:
    deliver(tmp_path, {"2026-01-31.csv": HEADER, "2026-01-31.txt": HEADER})
    with pytest.raises(
        ConfigurationError, match="may be transactions or labels of source card_export: ingest its folder"
    ):
        take_in(tmp_path / "2026-01-31.csv", zone)
    with pytest.raises(InputFileError, match="nothing matches"):
        take_in(tmp_path / "2026-01-31.txt", zone)


def test_a_label_file_beside_the_transactions_is_no_transaction_file(tmp_path: Path, zone: LandingZone) -> None:
    described = source({"files": "labels.csv"}, transactions=source().transactions.model_dump() | {"files": "*.csv"})
    deliver(tmp_path / "delivery", {"2026-01-31.csv": HEADER, "labels.csv": LABELS})
    for path in (tmp_path / "delivery", tmp_path / "delivery" / "labels.csv"):
        assert take_in(path, zone, described).label_files == 1
    assert [file.day for file in zone.transaction_files()] == [DAY]


@pytest.mark.parametrize("disappears", [True, False])
def test_a_file_that_changes_meanwhile_is_refused(delivery: Path, zone: LandingZone, disappears: bool) -> None:
    def disturb(name: str) -> None:
        if name == "2026-01-31.csv":
            (delivery / "transactions" / "2026-02-01.csv").unlink()
            if not disappears:
                deliver(delivery, {"transactions/2026-02-01.csv": HEADER + ROW.format(2)})

    complaint = "cannot be read" if disappears else "changed while it was ingested: wait until it is complete"
    with pytest.raises(InputFileError, match=rf"2026-02-01\.csv {complaint}"):
        take_in(delivery, zone, on_file=disturb)
    assert [file.day for file in zone.transaction_files()] == [DAY]


def test_parquet_deliveries_with_a_delay_land_too(tmp_path: Path, zone: LandingZone) -> None:
    described = source(
        {"files": "labels.parquet", "columns": BY_DELAY, "delay_days": 7},
        transactions=source().transactions.model_dump() | {"files": "transactions/*.parquet"},
    )
    times = pd.Series(pd.to_datetime(["2026-01-31T08:00", "2026-01-31T09:00"]))
    transactions = pd.DataFrame({"id": [1, 2], "card": [7, 8], "shop": [0, 1], "time": times, "value": [0.1, 20.0]})
    truths = pd.DataFrame({"id": [1, 2], "fraud": [0, 1], "day": times.dt.normalize()})
    files = {"transactions/2026-01-31.parquet": transactions, "labels.parquet": truths}
    report = take_in(deliver(tmp_path / "delivery", {k: to_parquet(v) for k, v in files.items()}), zone, described)
    assert report == IngestReport(1, 1, 2, DAY, DAY, 0)
    assert zone.read_transactions(DAY)["amount"].tolist() == ["0.1", "20"]
    found = zone.read_labels(date(2026, 2, 7))
    assert found["transaction_id"].tolist() == ["1", "2"]
    assert found["is_fraud"].tolist() == [False, True]
    assert found["event_day"].tolist() == ["2026-01-31"] * 2


def to_parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def test_labels_are_filed_by_the_day_of_the_deployment() -> None:
    rows = pd.DataFrame(
        {
            "transaction_id": ["t1"],
            "is_fraud": [True],
            "label_known_at": pd.to_datetime(["2026-01-05T20:00:00Z"]).astype(TIME_DTYPE),
            "delay_days": [float("nan")],
            "event_day": pd.Series([None], dtype="str"),
        }
    )
    assert [day for day, _ in by_known_day(rows, "Asia/Tokyo")] == [date(2026, 1, 6)]
    assert [day for day, _ in by_known_day(rows, "UTC")] == [date(2026, 1, 5)]


def test_a_file_older_than_is_kept_is_refused(tmp_path: Path, zone: LandingZone) -> None:
    deliver(tmp_path / "now", {"transactions/2026-01-31.csv": HEADER})
    deliver(tmp_path / "then", {"transactions/2025-12-31.csv": HEADER})
    take_in(tmp_path / "now", zone, retention_days=30)
    complaint = (
        r"2025-12-31\.csv is of 2025-12-31, more than 30 days before the newest day 2026-01-31, .*RETENTION_DAYS"
    )
    with pytest.raises(ConfigurationError, match=complaint):
        take_in(tmp_path / "then", zone, retention_days=30)
    assert [file.day for file in zone.transaction_files()] == [DAY]
    assert take_in(tmp_path / "then", zone, retention_days=31).transaction_files == 1


def test_an_old_export_is_taken_whole_since_its_own_newest_day_counts(tmp_path: Path, zone: LandingZone) -> None:
    files: dict[str, str | bytes] = {f"transactions/2018-04-{day:02}.csv": HEADER for day in (1, 2, 30)}
    assert take_in(deliver(tmp_path, files), zone, retention_days=120, today=DAY).transaction_files == 3


def test_a_day_that_is_still_to_come_is_a_wrong_name(tmp_path: Path, zone: LandingZone) -> None:
    deliver(tmp_path, {"transactions/2026-02-01.csv": HEADER})
    assert take_in(tmp_path, zone, today=DAY).transaction_files == 1, "where the clocks are ahead it is here"
    deliver(tmp_path, {"transactions/2199-02-02.csv": HEADER})
    with pytest.raises(InputFileError, match=r"2199-02-02\.csv is of 2199-02-02, and today is 2026-01-31: correct the"):
        take_in(tmp_path, zone, today=DAY)


def test_json_lines_land_as_they_are(tmp_path: Path, zone: LandingZone) -> None:
    described = source(
        {"files": "labels/*.jsonl"}, transactions=source().transactions.model_dump() | {"files": "transactions/*"}
    )
    row = '{"id": 1, "card": "c", "shop": "s", "time": "2026-01-31T08:00Z", "value": 12.50}\n'
    label = '{"id": 1, "fraud": true, "reported": "2026-02-01T12:00Z"}\n'
    files: dict[str, str | bytes] = {
        "transactions/2026-01-31.jsonl": row,
        "transactions/2026-02-01.jsonl.gz": gzip.compress(row.encode()),
        "labels/labels.jsonl": label,
    }
    report = take_in(deliver(tmp_path / "delivery", files), zone, described)
    assert report == IngestReport(2, 1, 1, DAY, NEXT_DAY, 0)
    for day in (DAY, NEXT_DAY):
        assert zone.read_transactions(day)[["transaction_id", "amount"]].to_numpy().tolist() == [["1", "12.50"]]
    assert zone.read_labels(NEXT_DAY)["is_fraud"].tolist() == [True]
    assert zone.label_files()[0].key.startswith("card_export/labels/2026-02-01/labels-")


def test_labels_have_times_of_the_format_of_the_source() -> None:
    described = source({"time_format": "%d.%m.%Y %H:%M"}, time_zone="Europe/Paris")
    rows = label_rows(LABELS + "1,1,01.02.2026 00:30\n", described)
    assert rows["label_known_at"].tolist() == [pd.Timestamp("2026-01-31T23:30Z")]
    with pytest.raises(InputFileError, match=r"row 1, column 'reported': '31\.02\.2026 00:30' cannot be used"):
        label_rows(LABELS + "1,1,31.02.2026 00:30\n", described)
