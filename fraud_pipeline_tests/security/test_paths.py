"""No name that comes from outside leads out of the folder or prefix that it belongs to."""

from pathlib import Path

import boto3
import pytest

from fraud_pipeline.adapters import storage
from fraud_pipeline.adapters.ingest import ingest
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.adapters.model_registry import ModelRegistry
from fraud_pipeline.adapters.source import load_source
from fraud_pipeline.core.errors import ConfigurationError, InputFileError, ModelArtefactError
from fraud_pipeline_tests.adapters.conftest import bucket, object_store_url

__all__ = ["bucket", "object_store_url"]

HOSTILE = ("..", "../other", "a/../../other", "/etc/cron.d/x", "a\\..\\b", ".hidden", "", "a\x00b", "a\nb", "~root/x")
DESCRIPTION = """
name: {name}
currency: EUR
time_zone: UTC
transactions:
  files: "{files}"
  columns: {{transaction_id: id, user_id: user, merchant_id: shop, event_time: time, amount: amount}}
"""


def description(folder: Path, *, name: str = "bank", files: str = "*.csv") -> Path:
    path = folder / "source.yaml"
    path.write_text(DESCRIPTION.format(name=json_text(name), files=files.replace("\\", "\\\\")))
    return path


def json_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace("\x00", "\\0").replace("\n", "\\n") + '"'


@pytest.mark.parametrize("name", HOSTILE)
def test_a_source_cannot_name_another_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        load_source(description(tmp_path, name=name))


@pytest.mark.parametrize("files", ["../*.csv", "/etc/*.csv", "a/../../*.csv", "..\\*.csv"])
def test_a_source_cannot_look_for_files_above_its_delivery(tmp_path: Path, files: str) -> None:
    with pytest.raises(ConfigurationError, match=r"without '\.\.'"):
        load_source(description(tmp_path, files=files))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_dataset_and_no_document_lies_outside_the_lake(tmp_path: Path, name: str) -> None:
    lake = Lake(str(tmp_path / "lake"))
    with pytest.raises(ConfigurationError, match="cannot name a dataset"):
        lake.write_json(name, {})
    with pytest.raises(ConfigurationError, match="cannot name a dataset"):
        lake.days(name)
    assert [path.name for path in tmp_path.rglob("*")] == []


@pytest.mark.parametrize("name", HOSTILE)
def test_no_model_and_no_file_of_one_is_stored_under_a_path(tmp_path: Path, name: str) -> None:
    registry = ModelRegistry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artefacts"))
    for model, file in ((name, "file"), ("model", name)):
        with pytest.raises(ModelArtefactError, match="is no name for a model or a file"):
            registry.register(model, {file: b""}, params={}, metrics={})


def test_an_object_with_dots_in_its_key_stays_what_it_is(bucket: str) -> None:
    client = boto3.client("s3")
    client.put_object(
        Bucket=bucket, Key="landing/bank/source.yaml", Body=DESCRIPTION.format(name="bank", files="*.csv")
    )
    client.put_object(Bucket=bucket, Key="landing/bank/transactions/../../../2026-01-01.csv", Body=b"secret")
    client.put_object(Bucket=bucket, Key="2026-01-01.csv", Body=b"another object")
    zone = LandingZone(f"s3://{bucket}/landing")
    keys = [file.key for file in zone.transaction_files()]
    for key in keys:
        assert storage.read(zone.root / key) != b"another object"


def test_an_artefact_with_dots_in_its_key_is_not_written_outside_the_temporary_folder(
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    downloads = tmp_path / "one" / "two" / "three"
    downloads.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(downloads))
    registry = ModelRegistry(f"sqlite:///{tmp_path}/mlflow.db", f"s3://{bucket}/artefacts")
    version = registry.register("model", {"file": b"whole"}, params={}, metrics={})
    client = boto3.client("s3")
    (key,) = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket)["Contents"]]
    for dots in ("../evil", "../../evil", "../../../../evil"):
        client.put_object(Bucket=bucket, Key=key.replace("/file", f"/{dots}"), Body=b"evil")
    _, files = registry.read("model", version.version)
    assert files == {"file": b"whole"}
    assert [path for path in tmp_path.rglob("evil*") if path.is_file()] == []


def test_a_link_in_a_delivery_is_read_as_the_file_it_points_to_and_nothing_else(tmp_path: Path) -> None:
    delivery, zone = tmp_path / "delivery", LandingZone(str(tmp_path / "landing"))
    delivery.mkdir()
    (tmp_path / "secret.txt").write_text("no transactions at all\n")
    (delivery / "2026-01-01.csv").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputFileError, match=r"2026-01-01\.csv"):
        ingest(delivery, load_source(description(delivery)), zone, "EUR", None)
    assert not (tmp_path / "landing").exists()
