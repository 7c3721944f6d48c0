from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from fraud_pipeline.adapters import health
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.health import Check
from fraud_pipeline.adapters.model_registry import ModelRegistry
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.core.errors import DatabaseError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
Usage = namedtuple("Usage", "total used free")


def test_an_error_of_the_pipeline_is_a_failed_check() -> None:
    def look() -> str:
        raise DatabaseError("it is away: start it.")

    assert health.examine("database", look) == Check("database", "failed", "it is away: start it.")


def test_a_storage_root_is_written_read_and_left_clean(storage_root: str) -> None:
    found = health.storage_root("lake", storage_root)
    assert (found.state, found.name) == ("ok", "lake")
    from fraud_pipeline.adapters import storage

    root = storage.open_root(storage_root)
    assert not [path for path in root.iterdir() if path.name.startswith(".doctor")] if root.exists() else True


def test_a_storage_root_that_cannot_be_written_has_failed(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file")
    assert health.storage_root("lake", str(tmp_path / "lake")).state == "failed"
    assert health.storage_root("lake", "ftp://host/lake").state == "failed"


@pytest.mark.parametrize(("free", "state"), [(5e8, "failed"), (5e9, "warning"), (5e10, "ok")])
def test_a_full_disk_is_seen_before_the_night(
    free: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(1e11, 1e11 - free, free))
    found = health.disk_space(tmp_path / "not" / "there" / "yet")
    assert found.state == state
    assert bool(found.remedy) is (state != "ok")


@pytest.mark.parametrize(("seconds", "state"), [(0, "ok"), (1.5, "ok"), (-10, "warning"), (3600, "failed")])
def test_clocks_that_are_apart_are_seen(seconds: float, state: str) -> None:
    assert health.clock_skew("database clock", NOW + timedelta(seconds=seconds), NOW).state == state


def test_the_clock_of_a_real_database_is_compared(database: Database) -> None:
    assert health.database_clock(database).state == "ok"


def test_a_time_zone_that_the_database_does_not_share_has_failed(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("delete from deployment_settings"))
        connection.execute(text("insert into deployment_settings (time_zone) values ('Europe/Berlin')"))
    assert health.time_zone(database, "Europe/Berlin").state == "ok"
    found = health.time_zone(database, "America/New_York")
    assert found.state == "failed"
    assert "Europe/Berlin" in found.detail


def test_no_champion_yet_is_a_warning_with_the_command(tmp_path: Path) -> None:
    found = health.champion(ModelStore(ModelRegistry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artefacts"))))
    assert (found.state, "fraud-pipeline train" in found.remedy) == ("warning", True)
