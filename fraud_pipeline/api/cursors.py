"""Cursors of lists: where a page ended, as a text that clients only hand back."""

import base64
import binascii
import hashlib
import json
from dataclasses import asdict
from datetime import datetime

from fraud_pipeline.adapters.database.alert_queries import AlertFilter, Place
from fraud_pipeline.api.problems import ProblemError


def encode(place: Place, which: AlertFilter) -> str:
    """Write where a page of a filtered list ended."""
    content = [place.current_priority, place.due.isoformat(), place.alert_id, _fingerprint(which)]
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(cursor: str, which: AlertFilter) -> Place:
    """Read a cursor of the same list.

    Raises
    ------
    ProblemError
        422: it is none, or one of another list.
    """
    try:
        content = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        priority, due, alert_id, fingerprint = content
        place = Place(_whole(priority, 5), _aware(due), _whole(alert_id, 2**63 - 1))
    except (binascii.Error, ValueError, TypeError):
        raise _not_usable("is none that this API gave") from None
    if fingerprint != _fingerprint(which):
        raise _not_usable("belongs to a list with other filters")
    return place


def _whole(number: object, most: int) -> int:
    if type(number) is not int or not 1 <= number <= most:
        raise ValueError
    return number


def _aware(text: object) -> datetime:
    if not isinstance(text, str) or (time := datetime.fromisoformat(text)).tzinfo is None:
        raise ValueError
    return time


def _fingerprint(which: AlertFilter) -> str:
    return hashlib.sha256(json.dumps(asdict(which), default=str, sort_keys=True).encode()).hexdigest()[:12]


def _not_usable(why: str) -> ProblemError:
    return ProblemError(422, "invalid-cursor", f"The cursor {why}: start again without one.")
