"""The log of the API: one JSON object a line."""

import logging
from typing import Any, Final

from fraud_pipeline.adapters import logs
from fraud_pipeline.api.middleware import REQUEST_ID


class JsonFormatter(logs.JsonFormatter):
    """Renders a record as JSON with the id of the request that it belongs to."""

    def context(self, record: logging.LogRecord) -> dict[str, Any]:
        """Give the id of the request, and what the record says of it."""
        request_id = REQUEST_ID.get()
        return ({"request_id": request_id} if request_id else {}) | getattr(record, "fields", {})


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
