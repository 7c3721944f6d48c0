import logging

import pytest

from fraud_pipeline.adapters.notifier import LogNotifier, Notifier


def test_a_message_is_logged_as_one_error(caplog: pytest.LogCaptureFixture) -> None:
    notifier: Notifier = LogNotifier()
    with caplog.at_level(logging.INFO):
        notifier.notify("run 1 of score_nightly failed", "PostgreSQL cannot be reached")
    assert caplog.record_tuples == [
        ("fraud_pipeline", logging.ERROR, "run 1 of score_nightly failed: PostgreSQL cannot be reached")
    ]


def test_percent_signs_in_a_message_are_text(caplog: pytest.LogCaptureFixture) -> None:
    LogNotifier().notify("100 %s", "%d of rows {were} rejected")
    assert caplog.messages == ["100 %s: %d of rows {were} rejected"]
