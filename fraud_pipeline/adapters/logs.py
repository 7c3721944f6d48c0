"""Logs as one JSON object a line, for whatever collects them."""

import json
import logging
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from fraud_pipeline.adapters.notifier import redacted

_RUN_FIELDS: Final = ("run_id", "job_name", "step_key")
_PARTITION_TAGS: Final = {
    "dagster/partition": "partition",
    "dagster/asset_partition_range_start": "partition_from",
    "dagster/asset_partition_range_end": "partition_to",
}


class JsonFormatter(logging.Formatter):
    """Renders a record as JSON, with run, step and partition where a run wrote it.

    Parameters
    ----------
    secrets : collection of str
        Texts that are blanked out.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._secrets = frozenset(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self.context(record),
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        shown = {
            name: redacted(value, self._secrets) if isinstance(value, str) else value for name, value in fields.items()
        }
        return json.dumps(shown, ensure_ascii=False, default=str)

    def context(self, record: logging.LogRecord) -> dict[str, Any]:
        """Give the fields that tell what a record belongs to."""
        return _of_run(record)


def json_logger(name: str, level: str, secrets: Collection[str] = ()) -> logging.Logger:
    """Give a logger that writes JSON to standard error and nowhere else.

    Parameters
    ----------
    name : str
        Its handlers are replaced if it has any.
    level : str
        INFO, WARNING and so on.
    secrets : collection of str
        Texts that are blanked out.
    """
    logger = logging.getLogger(name)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(secrets))
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level)
    return logger


def _of_run(record: logging.LogRecord) -> dict[str, Any]:
    """Take from a record what Dagster attached to it: the run, its partition, the kind of event."""
    # Read by attribute: adapters do not know Dagster.
    meta: dict[str, Any] = getattr(record, "dagster_meta", None) or {}
    if not meta:
        return {}
    fields = {name.removesuffix("_name").removesuffix("_key"): meta.get(name) for name in _RUN_FIELDS}
    tags = meta.get("job_tags") or {}
    fields |= {field: tags[tag] for tag, field in _PARTITION_TAGS.items() if tag in tags}
    event = meta.get("dagster_event")
    if event is not None:
        fields["event"] = event.event_type_value
        # Materialisations and checks of a range name their own day.
        fields["partition"] = getattr(event, "partition", None) or fields.get("partition")
    return {"message": meta.get("orig_message") or record.getMessage()} | {
        name: value for name, value in fields.items() if value is not None
    }
