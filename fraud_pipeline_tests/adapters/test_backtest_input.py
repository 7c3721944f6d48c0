"""A backtest reads a source by the same rules as the nightly walk, and leaves nothing behind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from fraud_pipeline.adapters.backtest_input import BacktestInput, read_source
from fraud_pipeline.adapters.label_files import read_scenarios
from fraud_pipeline.adapters.source import load_source
from fraud_pipeline.core.errors import ConfigurationError, InputFileError
from fraud_pipeline.core.schema import TRANSACTION_COLUMNS

HEADER = "id,card,shop,time,value\n"
KNOWN_AT = {"transaction_id": "id", "is_fraud": "fraud", "label_known_at": "reported", "scenario": "kind"}
BY_DELAY = {"transaction_id": "id", "is_fraud": "fraud", "event_day": "day"}
MATURITY_DAYS = 14

FILES = {
    # The second file comes first by name of its rows; "a" is in both.
    "transactions/2026-01-31.csv": HEADER + "b,c1,s1,2026-01-31T23:00Z,20\na,c1,s1,2026-01-31T08:00Z,10\n",
    "transactions/2026-02-01.csv": HEADER + "c,c2,s1,2026-02-01T08:00Z,30\nd,c2,s2,2026-02-01T09:00Z,40\n",
    "labels/2026-02.csv": "id,fraud,reported,kind\na,1,2026-02-02T10:00Z,stolen\nc,0,2026-02-03T10:00Z,dispute\n",
}


def describe(where: Path, /, **changes: Any) -> Path:  # noqa: ANN401 - keys of the YAML file
    columns = {
        "transaction_id": "id",
        "user_id": "card",
        "merchant_id": "shop",
        "event_time": "time",
        "amount": "value",
    }
    description = {
        "name": "card_export",
        "currency": "SEK",
        "transactions": {"files": "transactions/*.csv", "columns": columns},
        "labels": {"files": "labels/*.csv", "columns": KNOWN_AT},
    }
    where.mkdir(exist_ok=True)
    path = where / "source.yaml"
    path.write_text(yaml.safe_dump(description | changes))
    return path


def deliver(folder: Path, files: Mapping[str, str] = FILES) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def read(description: Path, **options: Any) -> BacktestInput:  # noqa: ANN401 - options of read_source
    return read_source(description, **{"maturity_days": MATURITY_DAYS} | options)


def truth_of(given: BacktestInput) -> dict[str, tuple[bool, str, str]]:
    known_at = given.truth["label_known_at"].dt.strftime("%m-%d %H:%M")
    columns = zip(given.truth["is_fraud"], known_at, given.truth["scenario"], strict=True)
    return dict(zip(given.truth["transaction_id"], columns, strict=True))


def test_transactions_come_in_the_order_of_time_with_the_truth_about_each(tmp_path: Path) -> None:
    given = read(describe(deliver(tmp_path)))
    assert tuple(given.transactions) == TRANSACTION_COLUMNS
    assert given.transactions["transaction_id"].tolist() == ["a", "b", "c", "d"]
    assert given.transactions["amount"].tolist() == [10, 20, 30, 40]
    assert given.truth["transaction_id"].tolist() == ["a", "b", "c", "d"]
    assert given.rejected == 0


def test_labels_are_known_when_the_source_says_and_the_others_are_genuine_once_mature(tmp_path: Path) -> None:
    assert truth_of(read(describe(deliver(tmp_path)))) == {
        "a": (True, "02-02 10:00", "stolen"),
        "b": (False, "02-14 23:00", ""),
        "c": (False, "02-03 10:00", ""),
        "d": (False, "02-15 09:00", ""),
    }


def test_a_label_delay_given_holds_for_every_transaction(tmp_path: Path) -> None:
    given = read(describe(deliver(tmp_path)), label_delay_days=1.5)
    delay = given.truth["label_known_at"] - given.transactions["event_time"]
    assert (delay == pd.Timedelta(days=1.5)).all()
    assert given.truth["is_fraud"].tolist() == [True, False, False, False]


def test_a_delay_of_the_source_is_counted_from_each_transaction(tmp_path: Path) -> None:
    labels = {"files": "labels/*.csv", "columns": BY_DELAY, "delay_days": 7}
    deliver(tmp_path, FILES | {"labels/2026-02.csv": "id,fraud,day\na,1,2026-01-31\n"})
    assert truth_of(read(describe(tmp_path, labels=labels)))["a"] == (True, "02-07 08:00", "")


def test_the_label_in_force_at_last_is_the_truth(tmp_path: Path) -> None:
    content = "id,fraud,reported,kind\na,0,2026-02-02T10:00Z,\na,1,2026-02-05T10:00Z,skimmed\n"
    deliver(tmp_path, FILES | {"labels/2026-02.csv": content})
    assert truth_of(read(describe(tmp_path)))["a"] == (True, "02-05 10:00", "skimmed")


def test_without_a_scenario_column_no_kind_is_told(tmp_path: Path) -> None:
    labels = {"files": "labels/*.csv", "columns": {name: KNOWN_AT[name] for name in KNOWN_AT if name != "scenario"}}
    given = read(describe(deliver(tmp_path), labels=labels))
    assert given.truth["scenario"].tolist() == ["", "", "", ""]
    assert given.truth["is_fraud"].sum() == 1


def test_scenarios_are_read_once_for_each_transaction_that_has_one(tmp_path: Path) -> None:
    source = load_source(describe(tmp_path))
    content = "id,fraud,reported,kind\na,1,x,\nb,1,x, \na,1,x,stolen\na,1,x,other\n"
    found = read_scenarios(content.encode(), "labels.csv", source)
    assert found.to_dict("list") == {"transaction_id": ["a"], "scenario": ["stolen"]}


def test_files_are_where_the_folder_of_the_description_says(tmp_path: Path) -> None:
    deliver(tmp_path / "data" / "bank")
    description = describe(tmp_path / "descriptions", folder="../data/bank")
    assert len(read(description).transactions) == 4


def test_the_folder_does_not_depend_on_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(tmp_path / "data")
    describe(tmp_path, folder="data")
    monkeypatch.chdir(tmp_path)
    assert len(read(Path("source.yaml")).transactions) == 4


def test_a_folder_given_wins(tmp_path: Path) -> None:
    deliver(tmp_path / "elsewhere")
    description = describe(tmp_path / "descriptions", folder="nowhere")
    assert len(read(description, folder=tmp_path / "elsewhere").transactions) == 4
    with pytest.raises(InputFileError, match="nowhere does not exist"):
        read(description)


def test_rows_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    more = "e,c2,s2,2026-02-01T10:00Z,many\nf,c2,s2,2026-03-01T10:00Z,5\ng,c2,s2,2026-02-01T10:00Z,5000\n"
    day = "transactions/2026-02-01.csv"
    # One that is no number, one of another day, one that is too much, and one that a day before has already.
    deliver(tmp_path, FILES | {day: FILES[day] + more + "a,c1,s1,2026-02-01T08:00Z,99\n"})
    given = read(describe(tmp_path), max_amount=1000)
    assert given.rejected == 4
    assert given.transactions["amount"].tolist() == [10, 20, 30, 40]


def test_days_are_those_of_the_time_zone(tmp_path: Path) -> None:
    given = read(describe(deliver(tmp_path)), time_zone="Asia/Tokyo")
    # 23:00 UTC is the next day there.
    assert given.transactions["transaction_id"].tolist() == ["a", "c", "d"]
    assert given.rejected == 1


def test_progress_is_told_by_day(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    read(describe(deliver(tmp_path)), on_day=lambda *step: told.append(step))
    assert told == [("2026-01-31", 1, 2), ("2026-02-01", 2, 2)]


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    description = describe(deliver(tmp_path / "data"))
    before = sorted(tmp_path.rglob("*"))
    read(description)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("without", "complaint"),
    [
        ("labels/", "holds no label file of source card_export: a backtest needs the truth"),
        ("transactions/", "holds no transaction file of source card_export: check the folder"),
    ],
)
def test_a_source_without_labels_or_without_transactions_is_refused(
    tmp_path: Path, without: str, complaint: str
) -> None:
    deliver(tmp_path, {name: content for name, content in FILES.items() if not name.startswith(without)})
    with pytest.raises(InputFileError, match=complaint):
        read(describe(tmp_path))


def test_a_source_that_describes_no_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="holds no label file of source card_export"):
        read(describe(deliver(tmp_path), labels=None))


def test_labels_of_other_transactions_are_refused(tmp_path: Path) -> None:
    deliver(tmp_path, FILES | {"labels/2026-02.csv": "id,fraud,reported,kind\nz,1,2026-02-02T10:00Z,\n"})
    with pytest.raises(InputFileError, match="no label of source card_export belongs to one of its transactions"):
        read(describe(tmp_path))


def test_a_missing_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(tmp_path / "source.yaml")
