from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from fraud_pipeline.adapters.source import Source, load_source
from fraud_pipeline.core.errors import ConfigurationError, InputFileError

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TRANSACTION_COLUMNS = {
    "transaction_id": "id",
    "user_id": "card",
    "merchant_id": "terminal",
    "event_time": "booked_at",
    "amount": "value",
}
LABEL_COLUMNS = {"transaction_id": "id", "is_fraud": "fraud"}


def description(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  # keys of the YAML file, good and bad
    plain = {
        "name": "card_export",
        "currency": "EUR",
        "transactions": {"files": "transactions/*.csv", "columns": TRANSACTION_COLUMNS},
    }
    return plain | changes


def transactions(**changes: object) -> dict[str, Any]:
    return description(transactions={"files": "transactions/*.csv", "columns": TRANSACTION_COLUMNS} | changes)


def labels(**changes: object) -> dict[str, Any]:
    columns = LABEL_COLUMNS | {"label_known_at": "reported_at"}
    return description(labels={"files": "labels/*.csv", "columns": columns} | changes)


def load(tmp_path: Path, content: object) -> Source:
    path = tmp_path / "SOURCE.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_source(path)


def without(mapping: dict[str, str], key: str) -> dict[str, str]:
    return {name: value for name, value in mapping.items() if name != key}


def test_a_short_description_has_sensible_defaults(tmp_path: Path) -> None:
    source = load(tmp_path, labels())
    assert source.time_zone == "UTC"
    table = source.transactions
    assert (table.format, table.delimiter, table.encoding, table.decimal) == (None, ",", "utf-8", ".")
    assert table.mapping == TRANSACTION_COLUMNS
    assert source.labels is not None
    assert source.labels.mapping == LABEL_COLUMNS | {"label_known_at": "reported_at"}
    assert "fraud" in source.labels.true_values


def test_labels_may_be_left_out(tmp_path: Path) -> None:
    assert load(tmp_path, description()).labels is None


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_of_the_documentation_loads(path: Path) -> None:
    source = load_source(path)
    assert source.labels is not None
    assert source.labels.mapping["is_fraud"] == "is_fraud"
    assert source.labels.delay_days == 7


def test_every_description_in_the_guide_loads(tmp_path: Path) -> None:
    blocks = (EXAMPLES.parent / "sources.md").read_text().split("```yaml\n")[1:]
    descriptions = [block.partition("```")[0] for block in blocks]
    names = [load(tmp_path, yaml.safe_load(text)).name for text in descriptions if text.startswith("name:")]
    assert names == ["card_export", "handbook", "bank_export"]


def test_a_description_survives_being_stored(tmp_path: Path) -> None:
    source = load(tmp_path, labels(true_values=["CB"], delimiter="\t") | {"time_zone": "Europe/Paris"})
    (tmp_path / "stored.yaml").write_bytes(source.to_yaml())
    assert load_source(tmp_path / "stored.yaml") == source


def test_yaml_numbers_and_booleans_are_words_too(tmp_path: Path) -> None:
    source = load(tmp_path, labels(true_values=[1, True, " Fraud "], false_values=[0, False]))
    assert source.labels is not None
    assert source.labels.true_values == ("1", "true", "fraud")
    assert source.labels.false_values == ("0", "false")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (description(colour="red"), "colour is not a known key: remove it or correct its spelling"),
        (transactions(filse="x"), "transactions.filse is not a known key"),
        (without(description(), "currency"), "currency is missing: add it"),
        (
            transactions(columns=without(TRANSACTION_COLUMNS, "amount")),
            "transactions.columns.amount is missing: add it with the name of the file's column",
        ),
        (transactions(columns=TRANSACTION_COLUMNS | {"amount": 7}), "amount = 7 cannot be used: .*valid string"),
        (
            transactions(columns=TRANSACTION_COLUMNS | {"user_id": "id"}),
            "column 'id' is given for two fields: give each its own",
        ),
        (description(name="Card Export"), "name = 'Card Export' cannot be used"),
        (description(name="../x"), "name = '../x' cannot be used"),
        (description(currency="euro"), "currency = 'euro' cannot be used"),
        (description(time_zone="Paris"), "time_zone: 'Paris' is not a known time zone: use an IANA name"),
        (description(time_zone="Europe"), "time_zone: 'Europe' is not a known time zone"),
        (description(time_zone="../etc"), "time_zone: '../etc' is not a known time zone"),
        (transactions(day="(?P<day>"), r"transactions.day: is not a regular expression \(missing \)"),
        (transactions(day=r"\d+"), r"transactions.day: needs a group \(\?P<day>"),
        (transactions(files="../*.csv"), "transactions.files: give a pattern below the ingested folder"),
        (transactions(files="/data/*.csv"), "transactions.files: give a pattern below the ingested folder"),
        (transactions(files=""), "transactions.files: give a pattern below the ingested folder"),
        (transactions(format="xlsx"), "transactions.format = 'xlsx' cannot be used: .*'csv', 'jsonl' or 'parquet'"),
        (transactions(delimiter=";;"), "transactions.delimiter = ';;' cannot be used"),
        (transactions(encoding="utf-9"), "transactions.encoding: is not a known text encoding: use utf-8"),
        (transactions(decimal="'"), 'transactions.decimal = "\'" cannot be used'),
        (transactions(thousands=".", decimal="."), r"transactions: thousands and decimal are both '\.': .* set one"),
        (transactions(thousands=";"), "transactions.thousands = ';' cannot be used"),
        (transactions(time_format="%d.%m.%Y"), "transactions.time_format: needs year, month, day, hour and minute"),
        (transactions(time_format="dd.mm.yyyy"), "transactions.time_format: needs year"),
        (transactions(time_format="%Q %"), "transactions.time_format: cannot be used"),
        (labels(columns=LABEL_COLUMNS), "labels: columns needs either label_known_at or event_day"),
        (
            labels(columns=LABEL_COLUMNS | {"label_known_at": "a", "event_day": "b"}),
            "labels: columns needs either label_known_at or event_day",
        ),
        (labels(delay_days=7), "labels: delay_days belongs to event_day"),
        (labels(columns=LABEL_COLUMNS | {"event_day": "day"}), "labels: delay_days belongs to event_day"),
        (labels(delay_days=-1), "labels.delay_days = -1 cannot be used"),
        (labels(true_values=["0"]), "labels: 0 is in true_values and false_values: set both lists"),
        (labels(true_values="yes"), "labels.true_values = 'yes' cannot be used"),
        (["name"], r"the file = \['name'\] cannot be used"),
    ],
)
def test_a_bad_description_names_file_key_and_remedy(tmp_path: Path, content: object, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"SOURCE\.yaml: .*{complaint}"):
        load(tmp_path, content)


def test_all_complaints_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="currency is missing: add it; colour is not a known key"):
        load(tmp_path, without(description(colour="red"), "currency"))


@pytest.mark.parametrize("content", [b"name: [", b"name: \xff", b"a: b: c", b"\x00"])
def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "SOURCE.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"SOURCE\.yaml is not readable YAML: .* Correct the file"):
        load_source(path)


def test_a_missing_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"SOURCE\.yaml cannot be read: No such file"):
        load_source(tmp_path / "SOURCE.yaml")


@pytest.mark.parametrize("name", ["2026-01-31.csv", "export_20260131.csv.gz", "v12-2026-01-31-a.parquet"])
def test_the_day_is_found_in_the_file_name(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, description()).day_of(name) == date(2026, 1, 31)


def test_the_day_is_found_by_the_pattern_of_the_source(tmp_path: Path) -> None:
    source = load(tmp_path, transactions(day=r"to_(?P<day>\d{4}_\d\d_\d\d)"))
    assert source.day_of("2026_01_01_to_2026_01_31.csv") == date(2026, 1, 31)


@pytest.mark.parametrize("name", ["january.csv", "2026-13-01.csv", "2026-02-30.csv", "20260.csv"])
def test_a_name_without_a_day_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputFileError, match=rf"{name}: no day in the name .* set transactions.day of source card_exp"):
        load(tmp_path, description()).day_of(name)


def test_a_pattern_whose_day_does_not_take_part_finds_none(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no day in the name"):
        load(tmp_path, transactions(day=r"x|(?P<day>\d{8})")).day_of("x20260131.csv")
