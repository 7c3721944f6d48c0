import time
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from fraud_pipeline.adapters.clock import today, utc_now
from fraud_pipeline.core.errors import ConfigurationError


def test_now_is_aware_of_utc_and_moves_forward() -> None:
    before = time.time()
    now = utc_now()
    assert now.tzinfo is UTC
    assert before - 1e-6 <= now.timestamp() <= time.time() + 1e-6  # a datetime keeps microseconds


@pytest.mark.parametrize("name", ["Etc/GMT-14", "Etc/GMT+12", "Europe/Berlin", "UTC"])
def test_today_is_the_day_of_the_time_zone(name: str) -> None:
    before = utc_now().astimezone(ZoneInfo(name)).date()
    assert before <= today(name) <= utc_now().astimezone(ZoneInfo(name)).date()


def test_zones_26_hours_apart_never_share_a_day() -> None:
    assert today("Etc/GMT+12") < today("Etc/GMT-14")


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_an_unknown_time_zone_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' is no time zone: give an IANA name"):
        today(name)
