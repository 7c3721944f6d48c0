"""The clock: the only place that asks for the current time."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fraud_pipeline.core.errors import ConfigurationError


def utc_now() -> datetime:
    """Return the current time, aware of its time zone UTC."""
    return datetime.now(UTC)


def today(time_zone: str) -> date:
    """Return the current calendar day in a time zone.

    Parameters
    ----------
    time_zone : str
        IANA name, such as ``Europe/Berlin``.

    Raises
    ------
    ConfigurationError
        If there is no such time zone.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"{time_zone!r} is no time zone: give an IANA name such as 'UTC' or 'Europe/Berlin'."
        raise ConfigurationError(msg) from error
    return utc_now().astimezone(zone).date()
