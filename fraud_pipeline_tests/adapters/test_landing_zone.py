import hashlib
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from upath import UPath

from fraud_pipeline.adapters import frame_files, storage
from fraud_pipeline.adapters.label_files import LANDED_LABEL_DTYPES
from fraud_pipeline.adapters.landing_zone import QUIET, LandedFile, LandingZone
from fraud_pipeline.adapters.source import Source
from fraud_pipeline.core.errors import ConfigurationError, InputFileError, InvalidDataError
from fraud_pipeline.core.schema import LANDED_LABEL_COLUMNS, RAW_COLUMNS

DAY, NEXT_DAY = date(2026, 1, 31), date(2026, 2, 1)
SHA, OTHER_SHA = "a" * 64, "b" * 64
HEADER = b"id,card,shop,time,value\n"


def source(name: str = "card_export", **settings: object) -> Source:
    columns = {
        "transaction_id": "id",
        "user_id": "card",
        "merchant_id": "shop",
        "event_time": "time",
        "amount": "value",
    }
    description = {"name": name, "currency": "EUR", "transactions": {"files": "*.csv", "columns": columns}}
    return Source.model_validate(description | settings)


def labels(*transaction_ids: str) -> bytes:
    rows = pd.DataFrame({name: [None] * len(transaction_ids) for name in LANDED_LABEL_COLUMNS})
    rows = rows.assign(transaction_id=list(transaction_ids), is_fraud=True, row_number=1)
    return frame_files.encode(rows.astype(LANDED_LABEL_DTYPES))


@pytest.fixture
def zone(storage_root: str) -> LandingZone:
    return LandingZone(storage_root)


def test_an_empty_zone_has_nothing(zone: LandingZone) -> None:
    assert zone.sources() == []
    assert zone.transaction_files() == []
    assert zone.label_files() == []


def test_rows_come_as_received_with_their_origin(zone: LandingZone) -> None:
    paris = source("paris", time_zone="Europe/Paris")
    zone.put_source(paris)
    data = HEADER + b"1,c,s,2026-01-31 08:00,5\n2,c,s,,007\n"
    zone.put_transactions(paris, "2026-01-31.csv", data)
    rows = zone.read_transactions(DAY)
    assert list(rows) == list(RAW_COLUMNS)
    assert rows["amount"].tolist() == ["5", "007"]
    assert rows["event_time"].isna().tolist() == [False, True]
    assert rows["row_number"].tolist() == [1, 2]
    origin = rows[["time_zone", "currency", "source_name", "source_file", "file_sha256"]].drop_duplicates()
    expected = ["Europe/Paris", "EUR", "paris", "2026-01-31.csv", hashlib.sha256(data).hexdigest()]
    assert origin.to_numpy().tolist() == [expected]
    assert zone.sha256(zone.transaction_files(DAY)[0]) == expected[-1]
    assert rows.drop(columns="row_number").dtypes.astype("str").eq("str").all()


def test_all_files_of_the_day_are_read_in_the_order_of_source_and_name(zone: LandingZone) -> None:
    for name, file in [("b", "2026-01-31.csv"), ("a", "2026-01-31-2.csv"), ("a", "2026-01-31-1.csv")]:
        zone.put_source(source(name))
        zone.put_transactions(source(name), file, HEADER + f"{name}{file},c,s,t,1\n".encode() * 2)
    zone.put_transactions(source("a"), "2026-02-01.csv", HEADER + b"other,c,s,t,1\n")
    rows = zone.read_transactions(DAY)
    assert rows["transaction_id"].tolist()[::2] == ["a2026-01-31-1.csv", "a2026-01-31-2.csv", "b2026-01-31.csv"]
    assert rows["row_number"].tolist() == [1, 2, 1, 2, 1, 2]
    assert rows.index.tolist() == list(range(6))
    assert [file.day for file in zone.transaction_files()] == [DAY, DAY, NEXT_DAY, DAY]


def test_a_file_without_rows_gives_no_rows(zone: LandingZone) -> None:
    zone.put_source(source())
    zone.put_transactions(source(), "2026-01-31.csv", HEADER)
    rows = zone.read_transactions(DAY)
    assert len(rows) == 0
    assert rows["amount"].dtype == "str"
    assert rows["row_number"].dtype == "int64"


def test_a_day_without_a_file_is_named_with_the_remedy(zone: LandingZone) -> None:
    zone.put_source(source())
    with pytest.raises(InputFileError, match=r"No transaction file for 2026-01-31 in .*: ingest one, or check the day"):
        zone.read_transactions(DAY)


def test_a_bad_file_is_named_with_its_folder(zone: LandingZone) -> None:
    zone.put_source(source())
    zone.put_transactions(source(), "2026-01-31.csv", HEADER + b"1,2\n")
    with pytest.raises(InputFileError, match=r"card_export/transactions/2026-01-31\.csv, row 1: 2 cells"):
        zone.read_transactions(DAY)


def test_a_file_without_a_day_is_refused(zone: LandingZone) -> None:
    zone.put_source(source())
    zone.put_transactions(source(), "january.csv", HEADER)
    with pytest.raises(InputFileError, match=r"january\.csv: no day in the name"):
        zone.transaction_files()


def test_files_are_known_by_key_and_etag(tmp_path: Path) -> None:
    zone = LandingZone(str(tmp_path))
    zone.put_source(source())
    zone.put_transactions(source(), "2026-01-31.csv", HEADER)
    path = tmp_path / "card_export" / "transactions" / "2026-01-31.csv"
    os.utime(path, ns=(5, 7))
    key = "card_export/transactions/2026-01-31.csv"
    assert zone.transaction_files() == [LandedFile("card_export", key, DAY, f"{len(HEADER)}-7")]


def test_an_object_has_the_etag_of_the_store(bucket: str) -> None:
    zone = LandingZone(f"s3://{bucket}")
    zone.put_source(source())
    zone.put_transactions(source(), "2026-01-31.csv", HEADER)
    digest = hashlib.md5(HEADER, usedforsecurity=False).hexdigest()
    (file,) = zone.transaction_files()
    assert (file.key, file.day) == ("card_export/transactions/2026-01-31.csv", DAY)
    assert digest in file.etag


def test_the_same_bytes_leave_a_file_alone(zone: LandingZone) -> None:
    zone.put_source(source())
    assert zone.put_transactions(source(), "2026-01-31.csv", HEADER)
    before = zone.transaction_files()
    assert not zone.put_transactions(source(), "2026-01-31.csv", HEADER)
    assert zone.transaction_files() == before
    assert zone.put_transactions(source(), "2026-01-31.csv", HEADER + b"1,2,3,4,5\n")
    assert zone.transaction_files() != before


def test_a_folder_without_a_description_is_no_source(zone: LandingZone) -> None:
    zone.put_transactions(source(), "2026-01-31.csv", HEADER)
    assert zone.transaction_files() == []


def test_a_description_in_another_folder_is_refused(zone: LandingZone) -> None:
    storage.publish(zone.root / "elsewhere" / "source.yaml", source().to_yaml())
    with pytest.raises(ConfigurationError, match=r"elsewhere/source.yaml has the name card_export: name the source as"):
        zone.sources()


def test_descriptions_come_back_by_name(zone: LandingZone) -> None:
    zone.put_source(source("b", time_zone="Europe/Paris"))
    zone.put_source(source("a"))
    assert zone.sources() == [source("a"), source("b", time_zone="Europe/Paris")]


@pytest.mark.parametrize("name", ["../2026-01-31.csv", "/2026-01-31.csv", "..", "a\\2026-01-31.csv", "", ".x", "a\n"])
def test_no_file_name_leads_out_of_the_zone(zone: LandingZone, name: str) -> None:
    with pytest.raises(InputFileError, match="is no plain file name: rename the file"):
        zone.put_transactions(source(), name, HEADER)
    with pytest.raises(InputFileError, match="is no plain file name: rename the file"):
        zone.put_labels(source(), name, SHA, {DAY: labels("1")})
    assert storage.list_files(zone.root) == []


def test_labels_are_read_by_the_day_on_which_they_become_known(zone: LandingZone) -> None:
    for name in ("a", "b"):
        zone.put_source(source(name))
        zone.put_labels(source(name), "labels.csv", SHA, {DAY: labels(f"{name}1"), NEXT_DAY: labels(f"{name}2")})
    found = zone.read_labels(DAY)
    assert found["transaction_id"].tolist() == ["a1", "b1"]
    assert found.index.tolist() == [0, 1]
    assert [(file.key, file.day) for file in zone.label_files(NEXT_DAY)] == [
        ("a/labels/2026-02-01/labels-aaaaaaaa.parquet", NEXT_DAY),
        ("b/labels/2026-02-01/labels-aaaaaaaa.parquet", NEXT_DAY),
    ]
    assert {file.day for file in zone.label_files()} == {DAY, NEXT_DAY}


def test_a_day_without_labels_has_none_of_the_right_types(zone: LandingZone) -> None:
    zone.put_source(source())
    found = zone.read_labels(DAY)
    assert len(found) == 0
    assert found.dtypes.astype("str").to_dict() == LANDED_LABEL_DTYPES


def test_labels_keep_their_types_when_files_are_joined(zone: LandingZone) -> None:
    zone.put_source(source())
    zone.put_labels(source(), "one.csv", SHA, {DAY: labels("1")})
    zone.put_labels(source(), "two.csv", SHA, {DAY: labels("2", "3")})
    found = zone.read_labels(DAY)
    assert found["transaction_id"].tolist() == ["1", "2", "3"]
    assert found.dtypes.astype("str").to_dict() == LANDED_LABEL_DTYPES


def test_a_label_file_replaces_what_its_name_delivered_before(zone: LandingZone) -> None:
    zone.put_source(source())
    assert zone.put_labels(source(), "labels.csv", SHA, {DAY: labels("1"), NEXT_DAY: labels("2")})
    assert zone.put_labels(source(), "labels-2.csv", SHA, {DAY: labels("other")})
    assert zone.put_labels(source(), "labels.csv.gz", OTHER_SHA, {DAY: labels("3")})
    assert [file.key.partition("/labels/")[2] for file in zone.label_files()] == [
        "2026-01-31/labels-2-aaaaaaaa.parquet",
        "2026-01-31/labels-bbbbbbbb.parquet",
    ]
    before = zone.label_files()
    assert not zone.put_labels(source(), "labels.csv", OTHER_SHA, {DAY: labels("3")})
    assert zone.label_files() == before
    assert zone.put_labels(source(), "labels.csv", OTHER_SHA, {})
    assert zone.read_labels(DAY)["transaction_id"].tolist() == ["other"]


def test_a_label_file_that_ingest_did_not_put_there_is_refused(zone: LandingZone) -> None:
    zone.put_source(source())
    storage.publish(zone.root / "card_export" / "labels" / "raw.csv", b"id,fraud\n")
    with pytest.raises(InputFileError, match=r"labels/raw.csv was not put there by ingest: remove and ingest it"):
        zone.label_files()


def test_damaged_labels_are_refused(zone: LandingZone) -> None:
    zone.put_source(source())
    zone.put_labels(source(), "labels.csv", SHA, {DAY: labels("1")[:50]})
    with pytest.raises(InvalidDataError, match=r"card_export/labels/2026-01-31/labels-aaaaaaaa.parquet is damaged"):
        zone.read_labels(DAY)


def test_reading_needs_the_bytes_of_one_moment(zone: LandingZone) -> None:
    """The digest belongs to the rows, also when the file is replaced later."""
    zone.put_source(source())
    for value in (b"1", b"2"):
        data = HEADER + b"1,c,s,t," + value + b"\n"
        zone.put_transactions(source(), "2026-01-31.csv", data)
        rows = zone.read_transactions(DAY)
        assert rows["amount"].tolist() == [value.decode()]
        assert rows["file_sha256"].tolist() == [hashlib.sha256(data).hexdigest()]


def test_times_of_landed_labels_survive(zone: LandingZone) -> None:
    zone.put_source(source())
    rows = pd.DataFrame({name: ["x"] for name in LANDED_LABEL_COLUMNS}).assign(
        is_fraud=False, row_number=3, delay_days=7.5, label_known_at=pd.Timestamp("2026-01-31T01:00Z")
    )
    rows = rows.astype(LANDED_LABEL_DTYPES)
    zone.put_labels(source(), "labels.csv", SHA, {DAY: frame_files.encode(rows)})
    pd.testing.assert_frame_equal(zone.read_labels(DAY), rows)


def two_sources(zone: LandingZone) -> None:
    for name in ("good", "poor"):
        zone.put_source(source(name))
        zone.put_transactions(source(name), "2026-01-31.csv", HEADER + f"{name},c,s,t,1\n".encode())


def test_a_survey_hides_nothing_behind_what_is_bad(zone: LandingZone) -> None:
    two_sources(zone)
    zone.put_transactions(source("good"), "january.csv", HEADER)
    storage.publish(zone.root / "poor" / "source.yaml", b"name: [")
    storage.publish(zone.root / "stray" / "notes.txt", b"")
    found = zone.survey()
    assert [file.key for file in found.files] == ["good/transactions/2026-01-31.csv"]
    nameless, description = found.problems
    assert (nameless.key, description.key) == ("good/transactions/january.csv", "poor/source.yaml")
    assert "january.csv: no day in the name" in nameless.message
    assert "poor/source.yaml is not readable YAML" in description.message
    assert zone.survey() == found
    assert zone.read_transactions(DAY)["transaction_id"].tolist() == ["good"]
    zone.put_source(source("poor"))
    assert zone.read_transactions(DAY)["transaction_id"].tolist() == ["good", "poor"]


def test_a_day_whose_files_cannot_be_told_says_what_else_is_wrong(zone: LandingZone) -> None:
    zone.put_source(source())
    zone.put_transactions(source(), "january.csv", HEADER)
    with pytest.raises(InputFileError, match=r"No transaction file for 2026-01-31 .*january\.csv: no day in the name"):
        zone.read_transactions(DAY)


def test_a_file_that_was_just_written_to_has_to_be_the_same_twice(tmp_path: Path) -> None:
    zone = LandingZone(str(tmp_path))
    zone.put_source(source())
    path = tmp_path / "card_export" / "transactions" / "2026-01-31.csv"
    path.parent.mkdir()
    path.write_bytes(HEADER)
    first = zone.transaction_files()
    now = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    assert zone.settled(first, {}, now) == []
    assert zone.settled(first, {first[0].key: first[0].etag}, now) == first
    # A second more: a time of the file system has no exact float.
    assert zone.settled(first, {}, now + QUIET + timedelta(seconds=1)) == first
    path.write_bytes(HEADER + b"1,c,s,t,5\n")
    second = zone.transaction_files()
    assert zone.settled(second, {first[0].key: first[0].etag}, now) == []


def test_an_object_is_complete_once_it_is_listed(bucket: str) -> None:
    zone = LandingZone(f"s3://{bucket}")
    two_sources(zone)
    files = zone.transaction_files()
    assert zone.settled(files, {}, datetime.now(UTC)) == files  # noqa: TID251  # any time will do


@pytest.mark.parametrize("rest", [b"1,c,s,t,5\n", b"1,c"])
def test_a_file_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    zone = LandingZone(str(tmp_path))
    zone.put_source(source())
    zone.put_transactions(source(), "2026-01-31.csv", HEADER)
    path = tmp_path / "card_export" / "transactions" / "2026-01-31.csv"
    read = storage.read

    def slow_read(wanted: UPath) -> bytes:
        """Another process appends at the same time."""
        if wanted.name == path.name:
            with path.open("ab") as file:
                file.write(rest)
        return read(wanted)

    monkeypatch.setattr(storage, "read", slow_read)
    with pytest.raises(InputFileError, match=r"2026-01-31\.csv changed while it was read: .*wait until it is complete"):
        zone.read_transactions(DAY)


def test_a_file_that_disappears_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = LandingZone(str(tmp_path))
    two_sources(zone)
    path = tmp_path / "poor" / "transactions" / "2026-01-31.csv"
    read = storage.read

    def read_too_late(wanted: UPath) -> bytes:
        if wanted.name == path.name:
            path.unlink(missing_ok=True)
        return read(wanted)

    monkeypatch.setattr(storage, "read", read_too_late)
    with pytest.raises(InputFileError, match=r"poor/transactions/2026-01-31\.csv (is gone|changed while it was read)"):
        zone.read_transactions(DAY)
