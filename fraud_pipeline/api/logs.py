"""The log of the API: one JSON object a line."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from fraud_pipeline.api.middleware import REQUEST_ID


class JsonFormatter(logging.Formatter):
    """Renders a record as JSON with the id of the request that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            fields["request_id"] = request_id
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


LOG_CONFIG: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonFormatter}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "fraud_pipeline": {"level": "INFO"},
        # Its access log would hold paths and queries.
        "uvicorn.access": {"level": "CRITICAL"},
        "uvicorn.error": {"level": "INFO"},
    },
}
"""For ``logging.config.dictConfig``."""
