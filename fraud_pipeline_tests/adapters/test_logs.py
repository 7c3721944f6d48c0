import json
import logging
from types import SimpleNamespace

import pytest

from fraud_pipeline.adapters.logs import JsonFormatter, json_logger


def rendered(record: logging.LogRecord, *secrets: str) -> dict[str, str]:
    line = JsonFormatter(secrets).format(record)
    assert "\n" not in line
    parsed: dict[str, str] = json.loads(line)
    return parsed


def record(message: str, **attributes: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "fraud_pipeline", "levelname": "INFO", "msg": message, **attributes})


def test_a_record_is_one_object_on_one_line() -> None:
    found = rendered(record("two\nlines"))
    assert {key: found[key] for key in ("level", "logger", "message")} == {
        "level": "INFO",
        "logger": "fraud_pipeline",
        "message": "two\nlines",
    }
    assert found["time"].endswith("+00:00")
    assert "run_id" not in found


def test_what_a_run_wrote_has_its_id_step_and_partition() -> None:
    meta = {
        "run_id": "r1",
        "job_name": "score_nightly",
        "step_key": "alerts",
        "job_tags": {"dagster/partition": "2026-03-01"},
        "orig_message": "done",
        "dagster_event": SimpleNamespace(event_type_value="STEP_SUCCESS", partition=None),
    }
    found = rendered(record("score_nightly - r1 - done", dagster_meta=meta))
    assert {name: found[name] for name in ("run_id", "job", "step", "partition", "message", "event")} == {
        "run_id": "r1",
        "job": "score_nightly",
        "step": "alerts",
        "partition": "2026-03-01",
        "message": "done",
        "event": "STEP_SUCCESS",
    }


def test_a_range_names_both_ends_and_a_day_of_it_its_own() -> None:
    tags = {"dagster/asset_partition_range_start": "2026-03-01", "dagster/asset_partition_range_end": "2026-03-31"}
    event = SimpleNamespace(event_type_value="ASSET_MATERIALIZATION", partition="2026-03-07")
    meta = {"run_id": "r1", "job_tags": tags, "orig_message": "", "dagster_event": event}
    found = rendered(record("", dagster_meta=meta))
    assert (found["partition_from"], found["partition_to"], found["partition"]) == (
        "2026-03-01",
        "2026-03-31",
        "2026-03-07",
    )


def test_a_trace_and_its_secrets() -> None:
    try:
        raise ValueError("postgresql://app:hunter2@db/fraud")
    except ValueError as error:
        found = rendered(record("hunter2", exc_info=(type(error), error, error.__traceback__)), "hunter2")
    assert "ValueError" in found["trace"]
    assert "hunter2" not in str(found)


def test_a_logger_writes_to_standard_error_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        logger = json_logger("fraud_pipeline_tests.logs", "INFO")
    logger.debug("too fine")
    logger.info("said %s", "once")
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["said once"]
    logger.handlers = []
