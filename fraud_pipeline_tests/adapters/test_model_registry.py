import multiprocessing
import shutil
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url, text

from fraud_pipeline.adapters.model_registry import ModelRegistry, ModelVersion, artefact_sha256
from fraud_pipeline.core.errors import ConfigurationError, ModelArtefactError

if TYPE_CHECKING:
    from mlflow import MlflowClient  # at run time inside a test, where MLflow sends no usage data

FILES = {"model.skops": bytes(range(256)) * 40, "bundle.json": b'{"columns": ["amount"]}'}


def register(registry: ModelRegistry, name: str = "forest", files: dict[str, bytes] = FILES) -> ModelVersion:
    return registry.register(name, files, params={"n_estimators": 100}, metrics={"auc": 0.5})


@pytest.fixture(scope="module")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow creates its tables once; each test copies the file."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    assert ModelRegistry(f"sqlite:///{database}", str(database.parent)).versions("forest") == []
    return database


@pytest.fixture
def tracking_uri(migrated_database: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(migrated_database, tmp_path / 'mlflow.db')}"


@pytest.fixture
def artefact_root(tmp_path: Path) -> Path:
    return tmp_path / "model files, 100 %25"


@pytest.fixture
def registry(tracking_uri: str, artefact_root: Path) -> ModelRegistry:
    return ModelRegistry(tracking_uri, str(artefact_root))


@pytest.fixture
def client(tracking_uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_files_come_back_as_they_were_registered(registry: ModelRegistry) -> None:
    registered = register(registry)
    assert (registered.name, registered.version, registered.sha256) == ("forest", 1, artefact_sha256(FILES))
    assert registry.read("forest", 1) == (registered, FILES)


def test_a_finished_run_records_parameters_metrics_and_tags(registry: ModelRegistry, client: "MlflowClient") -> None:
    version = registry.register("forest", FILES, params={"seed": 7}, metrics={"auc": 0.9}, tags={"cycle": "2024-06"})
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert (run.data.params, run.data.metrics, run.data.tags["cycle"]) == ({"seed": "7"}, {"auc": 0.9}, "2024-06")
    assert client.get_model_version("forest", "1").tags == {"cycle": "2024-06", "sha256": version.sha256}


def test_versions_are_counted_per_model_and_listed_oldest_first(registry: ModelRegistry) -> None:
    first, other, second = register(registry), register(registry, "neighbours"), register(registry)
    assert (first.version, other.version, second.version) == (1, 1, 2)
    assert registry.versions("forest") == [first, second]
    assert registry.versions("unheard_of") == []


def test_an_alias_is_resolved_and_moved(registry: ModelRegistry) -> None:
    assert registry.alias("forest", "champion") is None
    first, second = register(registry), register(registry)
    assert registry.alias("forest", "champion") is None
    registry.set_alias("forest", "champion", 1)
    assert registry.alias("forest", "champion") == first
    registry.set_alias("forest", "champion", 2)
    assert registry.alias("forest", "champion") == second


def test_an_alias_cannot_point_to_a_version_that_does_not_exist(registry: ModelRegistry) -> None:
    register(registry)
    with pytest.raises(ModelArtefactError, match=r"'champion' of model forest was not set to version 2: .*not found"):
        registry.set_alias("forest", "champion", 2)


def test_tags_of_a_model_are_set_and_replaced(registry: ModelRegistry) -> None:
    assert registry.tags("forest") == {}
    register(registry)
    registry.set_tag("forest", "owner", "risk")
    registry.set_tag("forest", "owner", "fraud")
    assert registry.tags("forest") == {"owner": "fraud"}
    with pytest.raises(ModelArtefactError, match=r"Tag 'owner' of model other was not set: .*not found"):
        registry.set_tag("other", "owner", "risk")


def flip_a_byte(model: Path) -> None:
    content = bytearray((model / "model.skops").read_bytes())
    content[1000] ^= 1
    (model / "model.skops").write_bytes(content)


def truncate(model: Path) -> None:
    (model / "model.skops").write_bytes(FILES["model.skops"][:-1])


def remove_a_file(model: Path) -> None:
    (model / "bundle.json").unlink()


def rename_a_file(model: Path) -> None:
    (model / "bundle.json").rename(model / "bundle.yaml")


def add_a_file(model: Path) -> None:
    (model / "more.json").write_text("{}")


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, remove_a_file, rename_a_file, add_a_file])
def test_files_that_changed_are_refused(
    damage: Callable[[Path], None], registry: ModelRegistry, artefact_root: Path
) -> None:
    version = register(registry)
    damage(artefact_root / version.run_id / "artifacts" / "model")
    with pytest.raises(ModelArtefactError, match=r"Model forest version 1: .*not match the digest.*register the model"):
        registry.read("forest", 1)


def test_an_altered_digest_tag_is_refused(registry: ModelRegistry, client: "MlflowClient") -> None:
    register(registry)
    client.set_model_version_tag("forest", "1", "sha256", artefact_sha256({}))
    with pytest.raises(ModelArtefactError, match="Model forest version 1: its files do not match the digest"):
        registry.read("forest", 1)


def test_a_missing_digest_tag_is_refused(registry: ModelRegistry, client: "MlflowClient") -> None:
    register(registry)
    client.delete_model_version_tag("forest", "1", "sha256")
    assert registry.versions("forest")[0].sha256 == ""
    with pytest.raises(ModelArtefactError, match="Model forest version 1: its files cannot be checked"):
        registry.read("forest", 1)


def test_lost_files_and_unknown_versions_are_named_with_the_remedy(
    registry: ModelRegistry, artefact_root: Path
) -> None:
    register(registry)
    shutil.rmtree(artefact_root)
    with pytest.raises(ModelArtefactError, match=r"Model forest version 1 cannot be read: .*restore it"):
        registry.read("forest", 1)
    with pytest.raises(ModelArtefactError, match=r"Model forest version 2 cannot be read: .*not found\. Choose"):
        registry.read("forest", 2)


def test_a_failed_upload_leaves_a_failed_run_and_no_version(
    registry: ModelRegistry, client: "MlflowClient", artefact_root: Path
) -> None:
    artefact_root.write_text("a file where the folder should be")
    with pytest.raises(ModelArtefactError, match=r"Model forest was not registered: .*can be reached and written"):
        register(registry)
    experiment = client.get_experiment_by_name("fraud_pipeline")
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]
    assert registry.versions("forest") == []


@pytest.mark.parametrize(
    ("name", "files"),
    [("a model", FILES), ("x' or name = 'y", FILES), ("forest", {}), ("forest", {"a/b": b""}), ("forest", {"..": b""})],
)
def test_names_that_cannot_be_stored_are_refused(registry: ModelRegistry, name: str, files: dict[str, bytes]) -> None:
    with pytest.raises(ModelArtefactError, match=r"is no name for a model or a file|has no files"):
        register(registry, name, files)


def train(folder: Path, seed: int) -> list[ModelVersion]:
    registry = ModelRegistry(f"sqlite:///{folder}/new folder/mlflow.db", str(folder / "models"))
    return [register(registry, files={"model.skops": bytes([seed, again])}) for again in range(2)]


def test_processes_that_use_a_new_database_at_once_get_distinct_versions(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "mlflow.store.tracking.sqlalchemy_store"])
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        versions = [version for trained in pool.map(train, [tmp_path] * 3, range(3)) for version in trained]
    assert sorted(version.version for version in versions) == list(range(1, 7))
    assert len({version.sha256 for version in versions}) == 6


def test_registries_of_one_process_do_not_mix(migrated_database: Path, tmp_path: Path, registry: ModelRegistry) -> None:
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    other = ModelRegistry(f"sqlite:///{shutil.copy(migrated_database, tmp_path / 'other.db')}", str(tmp_path / "other"))
    here, there = register(registry), register(other, files={"model.skops": b"other"})
    assert registry.read("forest", 1)[0] == here
    assert other.read("forest", 1)[0] == there
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == before


def test_another_artefact_root_for_the_same_experiment_is_refused_but_old_versions_stay_readable(
    tracking_uri: str, registry: ModelRegistry, tmp_path: Path
) -> None:
    register(registry)
    moved = ModelRegistry(tracking_uri, str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigurationError, match=r"'fraud_pipeline' keeps its files in .*model%20files.*elsewhere"):
        register(moved)
    assert moved.read("forest", 1)[1] == FILES


def test_models_are_registered_in_postgresql(postgres_server_url: str, artefact_root: Path) -> None:
    with create_engine(postgres_server_url, isolation_level="AUTOCOMMIT").connect() as session:
        session.execute(text("CREATE DATABASE mlflow_test"))
    url = make_url(postgres_server_url).set(drivername="postgresql", database="mlflow_test")
    registry = ModelRegistry(url.render_as_string(hide_password=False), str(artefact_root))
    version = register(registry)
    registry.set_alias("forest", "champion", 1)
    assert registry.alias("forest", "champion") == version
    assert registry.read("forest", 1) == (version, FILES)


def test_files_are_kept_in_a_bucket(tracking_uri: str, bucket: str) -> None:
    registry = ModelRegistry(tracking_uri, f"s3://{bucket}/fraud/models/")
    version = register(registry)
    assert registry.read("forest", 1) == (version, FILES)
    s3 = boto3.client("s3")
    key = f"fraud/models/{version.run_id}/artifacts/model/model.skops"
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == FILES["model.skops"]

    s3.put_object(Bucket=bucket, Key=key, Body=FILES["model.skops"][1:])
    with pytest.raises(ModelArtefactError, match="do not match the digest"):
        registry.read("forest", 1)
    for name in FILES:
        s3.delete_object(Bucket=bucket, Key=key.replace("model.skops", name))
    with pytest.raises(ModelArtefactError, match="Model forest version 1"):
        registry.read("forest", 1)


def test_a_missing_bucket_is_reported(tracking_uri: str, bucket: str) -> None:
    with pytest.raises(ModelArtefactError, match=f"Model forest was not registered: .*s3://no-{bucket}"):
        register(ModelRegistry(tracking_uri, f"s3://no-{bucket}/models"))


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_an_unreachable_store_is_reported_at_once_and_without_its_password(
    scheme: str, closed_port: int, tmp_path: Path
) -> None:
    registry = ModelRegistry(f"{scheme}://analyst:hunter2@127.0.0.1:{closed_port}/mlflow", str(tmp_path))
    with pytest.raises(ModelArtefactError, match=rf"refused.*Check that the MLflow store {scheme}://") as caught:
        registry.alias("forest", "champion")
    assert "hunter2" not in str(caught.value)


def test_a_database_file_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ModelArtefactError, match=r"versions of model forest cannot be listed.*can be reached and written"
    ):
        ModelRegistry(f"sqlite:///{tmp_path}/file/mlflow.db", str(tmp_path)).versions("forest")


def test_a_server_that_refuses_access_is_reported(tmp_path: Path) -> None:
    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, format: str, *arguments: object) -> None:
            """Keep the test output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        registry = ModelRegistry(f"http://127.0.0.1:{server.server_port}", str(tmp_path))
        with pytest.raises(ModelArtefactError, match=r"Model forest version 1 cannot be read: .*401"):
            registry.read("forest", 1)
        server.shutdown()


@pytest.mark.parametrize("uri", ["mlruns", "file:///mlruns", "mysql://user:hunter2@host/db", "", "postgresql://h:x/db"])
def test_an_unsupported_tracking_uri_is_refused_without_repeating_it(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tracking URI cannot be used: give sqlite") as caught:
        ModelRegistry(uri, str(tmp_path))
    assert "hunter2" not in str(caught.value)


FILE_SETS = st.dictionaries(st.text(max_size=3), st.binary(max_size=3), max_size=3)


@given(FILE_SETS, FILE_SETS)
def test_the_digest_tells_file_sets_apart_and_ignores_their_order(one: dict[str, bytes], two: dict[str, bytes]) -> None:
    assert (artefact_sha256(one) == artefact_sha256(two)) == (one == two)
    assert artefact_sha256(dict(reversed(one.items()))) == artefact_sha256(one)


def test_the_digest_sees_bytes_that_move_from_a_name_to_its_content() -> None:
    assert artefact_sha256({"ab": b"c"}) != artefact_sha256({"a": b"bc"})
