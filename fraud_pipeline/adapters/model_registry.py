"""Models by name and version in MLflow: plain files whose digest is stored beside them and compared on every read."""

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from fraud_pipeline.core.errors import ConfigurationError, ModelArtefactError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as RegistryEntry

_CONNECT_TIMEOUT = 5  # seconds
_ARTEFACT_PATH = "model"
_DIGEST_TAG = "sha256"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ModelVersion:
    """One registered version of a model.

    Parameters
    ----------
    name : str
        Registered name of the model.
    version : int
        Number of the version, from 1.
    run_id : str
        MLflow run that produced it.
    sha256 : str
        Digest of its files (see `artefact_sha256`); empty if the registry holds none, and then `ModelRegistry.read`
        refuses the version.
    """

    name: str
    version: int
    run_id: str
    sha256: str


def artefact_sha256(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over names and contents of `files`, in the order of their names.

    Lengths are hashed too, so that moving bytes from one file, or from a name, to the next changes the digest.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        for part in (name.encode(), files[name]):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


class ModelRegistry:
    """Model versions in an MLflow tracking store and their files in a folder or a bucket.

    Nothing is read or connected before the first method call. A new database gets MLflow's tables then, in a second or
    two; MLflow needs a database of its own, because its migration table has the same name as Alembic's default.

    Parameters
    ----------
    tracking_uri : str
        ``sqlite:///...``, ``postgresql://...`` or the ``http(s)://`` address of an MLflow server.
    artefact_root : str
        Folder or ``s3://bucket/prefix`` for the files; becomes the artefact location of the experiment.
    experiment : str, default "fraud_pipeline"
        MLflow experiment of the training runs; created when the first model is registered.

    Raises
    ------
    ConfigurationError
        If `tracking_uri` is of another kind.
    """

    def __init__(self, tracking_uri: str, artefact_root: str, experiment: str = "fraud_pipeline") -> None:
        try:
            self._address = make_url(tracking_uri).render_as_string(hide_password=True)
        except (ArgumentError, ValueError):
            self._address = ""
        if not re.match(r"(sqlite|postgresql(\+\w+)?|https?)://", self._address):
            # The URI itself is not repeated: it may hold a password.
            msg = "The MLflow tracking URI cannot be used: give sqlite:///..., postgresql://... or http(s)://..."
            raise ConfigurationError(msg)
        self.tracking_uri = tracking_uri
        self.artefact_root = artefact_root
        self.experiment = experiment

    def register(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        """Store files as a new version of a model.

        The version appears only after all its files are stored. If anything fails before, there is no version and the
        MLflow run is marked FAILED.

        Parameters
        ----------
        name : str
            Letters, digits, ``_``, ``-`` and, not first, ``.``.
        files : mapping of str to bytes
            Contents by file name, at least one; names as for `name`.
        params, metrics : mapping
            Logged on the run.
        tags : mapping of str to str, optional
            Set on the run and on the version.

        Returns
        -------
        ModelVersion
            The new version.

        Raises
        ------
        ModelArtefactError
            If a name cannot be used, or the registry or the artefact store cannot be reached or written.
        ConfigurationError
            If the experiment exists with another artefact location.
        """
        _require_names(name, *files)
        if not files:
            msg = f"Model {name} has no files to register: give at least one."
            raise ModelArtefactError(msg)
        tags = tags or {}
        sha256 = artefact_sha256(files)
        with self._explained(f"Model {name} was not registered"):
            run = self._client.create_run(self._experiment_id(), run_name=name, tags={**tags, _DIGEST_TAG: sha256})
            run_id = run.info.run_id
            entry = None
            try:
                for key, parameter in params.items():
                    self._client.log_param(run_id, key, parameter)
                for key, metric in metrics.items():
                    self._client.log_metric(run_id, key, metric)
                self._upload(run_id, files)
                self._client.set_terminated(run_id)
                source = f"{run.info.artifact_uri}/{_ARTEFACT_PATH}"
                entry = self._create_version(name, source, run_id, {**tags, _DIGEST_TAG: sha256})
            finally:
                if entry is None:
                    self._client.set_terminated(run_id, status="FAILED")
        return _model_version(entry)

    def read(self, name: str, version: int) -> tuple[ModelVersion, dict[str, bytes]]:
        """Download a version and compare its digest.

        Parameters
        ----------
        name : str
            Registered name of the model.
        version : int
            Number of the version.

        Returns
        -------
        ModelVersion, dict of str to bytes
            The version and the contents of its files by name.

        Raises
        ------
        ModelArtefactError
            If the version does not exist, its files or digest are missing or were altered, or the registry or the
            artefact store cannot be reached.
        """
        label = f"Model {name} version {version}"
        with self._explained(f"{label} cannot be read"), tempfile.TemporaryDirectory() as folder:
            found = _model_version(self._client.get_model_version(name, str(version)))
            downloaded = Path(self._client.download_artifacts(found.run_id, _ARTEFACT_PATH, folder))
            files = {
                path.relative_to(downloaded).as_posix(): path.read_bytes()
                for path in downloaded.rglob("*")
                if path.is_file()
            }
        if artefact_sha256(files) != found.sha256:
            problem = "do not match the digest in its tag" if found.sha256 else "cannot be checked: it has no tag"
            msg = (
                f"{label}: its files {problem} {_DIGEST_TAG!r}, so it was not loaded. Restore files and tag from a "
                "backup, move the alias to another version, or train and register the model again."
            )
            raise ModelArtefactError(msg)
        return found, files

    def alias(self, name: str, alias: str) -> ModelVersion | None:
        """Return the version that an alias of a model points to, or None if there is no such model or alias.

        Raises
        ------
        ModelArtefactError
            If the registry cannot be reached.
        """
        from mlflow.exceptions import MlflowException

        with self._explained(f"Alias {alias!r} of model {name} cannot be read"):
            try:
                aliases = self._client.get_registered_model(name).aliases
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None
            if alias not in aliases:
                return None
            return _model_version(self._client.get_model_version(name, aliases[alias]))

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias of a model to a version, away from any other.

        Raises
        ------
        ModelArtefactError
            If the version does not exist, MLflow refuses the alias, or the registry cannot be reached or written.
        """
        with self._explained(f"Alias {alias!r} of model {name} was not set to version {version}"):
            self._client.set_registered_model_alias(name, alias, str(version))

    def tags(self, name: str) -> dict[str, str]:
        """Return the tags of a model, those of its versions not included; an unknown model has none.

        Raises
        ------
        ModelArtefactError
            If the registry cannot be reached.
        """
        from mlflow.exceptions import MlflowException

        with self._explained(f"The tags of model {name} cannot be read"):
            try:
                return dict(self._client.get_registered_model(name).tags)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return {}

    def set_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a model, in place of any other value of it.

        Raises
        ------
        ModelArtefactError
            If the model does not exist, MLflow refuses the tag, or the registry cannot be reached or written.
        """
        with self._explained(f"Tag {key!r} of model {name} was not set"):
            self._client.set_registered_model_tag(name, key, value)

    def versions(self, name: str) -> list[ModelVersion]:
        """Return all versions of a model, oldest first; an unknown model has none.

        Raises
        ------
        ModelArtefactError
            If the registry cannot be reached.
        """
        _require_names(name)
        with self._explained(f"The versions of model {name} cannot be listed"):
            entries = self._client.search_model_versions(f"name = '{name}'")
        return sorted((_model_version(entry) for entry in entries), key=lambda entry: entry.version)

    @cached_property
    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        # MLflow does not lock the creation of its tables: two first uses at once would collide.
        with _lock_on_this_host(self.tracking_uri):
            _require_reachable(self.tracking_uri)
            # Both addresses are given, so that nothing is taken from MLflow's process-wide state.
            return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    def _experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        root = self.artefact_root
        location = root.rstrip("/") if "://" in root else Path(root).absolute().as_uri()
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return self._client.create_experiment(self.experiment, artifact_location=location)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            return self._experiment_id()  # another process was faster
        if found.artifact_location != location:
            msg = (
                f"MLflow experiment {self.experiment!r} keeps its files in {found.artifact_location}, not in "
                f"{location}: set the artefact root back to that place, or choose another experiment name."
            )
            raise ConfigurationError(msg)
        return str(found.experiment_id)

    def _upload(self, run_id: str, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self._client.log_artifacts(run_id, folder, _ARTEFACT_PATH)

    def _create_version(self, name: str, source: str, run_id: str, tags: dict[str, str]) -> "RegistryEntry":
        from mlflow.exceptions import MlflowException

        # MLflow takes the next number without a lock and gives up when several writers want the same one.
        with _lock_on_this_host(self.tracking_uri):
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            return self._client.create_model_version(name, source, run_id, tags, await_creation_for=0)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn the errors of MLflow, SQLAlchemy, boto and the file system into a `ModelArtefactError`."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError
        from mlflow.exceptions import MlflowException

        stores = (Boto3Error, BotoCoreError, ClientError, HTTPException, MlflowException, OSError, SQLAlchemyError)
        try:
            yield
        except stores as error:
            if isinstance(error, MlflowException) and error.error_code == "RESOURCE_DOES_NOT_EXIST":
                remedy = "Choose a version that exists, restore it from a backup, or train and register the model again"
            else:
                remedy = (
                    f"Check that the MLflow store {self._address} and the artefact root {self.artefact_root} can be "
                    "reached and written"
                )
            # SQLAlchemy adds its statement and a link, of no use to a reader.
            reason = re.split(r" \[SQL: | \(Background on", " ".join(str(error).split()))[0].rstrip(".")[:300]
            msg = f"{what}: {reason}. {remedy}."
            raise ModelArtefactError(msg) from error


def _require_names(*names: str) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            msg = f"{name!r} is no name for a model or a file: use letters, digits, '_', '-' and, not first, '.'."
            raise ModelArtefactError(msg)


def _model_version(entry: "RegistryEntry") -> ModelVersion:
    return ModelVersion(entry.name, int(entry.version), entry.run_id or "", entry.tags.get(_DIGEST_TAG, ""))


def _require_reachable(tracking_uri: str) -> None:
    """Try one connection, because MLflow itself retries for minutes before it reports that there is none."""
    url = make_url(tracking_uri)
    if url.drivername in ("http", "https"):
        address = URL.create(url.drivername, host=url.host, port=url.port, database=url.database)
        # An error status is an answer too: whether the server lets us in is for MLflow to find out.
        with suppress(HTTPError):
            urlopen(f"{str(address).rstrip('/')}/health", timeout=_CONNECT_TIMEOUT).close()  # noqa: S310 -- http or https only
        return
    if url.get_backend_name() == "sqlite":
        Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
        timeout = {"timeout": _CONNECT_TIMEOUT}
    else:
        timeout = {"connect_timeout": _CONNECT_TIMEOUT}
    create_engine(url, poolclass=NullPool, connect_args=timeout).connect().close()


@contextmanager
def _lock_on_this_host(tracking_uri: str) -> Iterator[None]:
    """Let one thread of one process of this user on this host pass at a time."""
    key = hashlib.sha256(tracking_uri.encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"fraud_pipeline-{os.getuid()}-{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
