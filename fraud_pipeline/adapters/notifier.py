"""Tells people that something needs them."""

import logging
from typing import Protocol


class Notifier(Protocol):
    """Anything that can deliver a short message."""

    def notify(self, subject: str, message: str) -> None:
        """Deliver one message."""


class LogNotifier:
    """Writes the message to the log as an error."""

    def __init__(self) -> None:
        self._log = logging.getLogger("fraud_pipeline")

    def notify(self, subject: str, message: str) -> None:
        """Log ``subject: message`` at level ERROR."""
        self._log.error("%s: %s", subject, message)
