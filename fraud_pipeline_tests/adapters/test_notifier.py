"""Notifications, against a real HTTP and a real SMTP server on this host."""

import json
import logging
import smtplib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.adapters.notifier import (
    LONGEST_MESSAGE,
    DeliveryError,
    EmailNotifier,
    LogNotifier,
    Notifier,
    Notifiers,
    WebhookNotifier,
    redacted,
    secret_parts,
)
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline_tests.adapters.mail_server import PASSWORD, USER, mail_server, make_certificate


@dataclass
class Hook:
    """A webhook that answers with the given statuses, the last one for ever."""

    answers: list[int]
    port: int = 0
    bodies: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T0/very-secret"


@contextmanager
def webhook(*answers: int) -> Iterator[Hook]:
    hook = Hook(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
            self.send_response(status)
            if status == 302:
                self.send_header("Location", hook.url)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Be quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    hook.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield hook
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


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


def test_a_webhook_gets_one_json_post() -> None:
    with webhook(200) as hook:
        WebhookNotifier(hook.url).notify("run failed", "März")
    assert hook.bodies == [{"subject": "run failed", "message": "März", "text": "run failed\nMärz"}]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_webhook_that_is_busy_is_tried_again(status: int) -> None:
    with webhook(status, status, 204) as hook:
        WebhookNotifier(hook.url, pause=0.01).notify("run failed", "")
    assert len(hook.bodies) == 3


@pytest.mark.parametrize(("status", "posts"), [(404, 1), (302, 1), (500, 3)])
def test_a_webhook_that_does_not_take_it_is_an_error_without_its_secret(status: int, posts: int) -> None:
    with webhook(status) as hook, pytest.raises(DeliveryError) as error:
        WebhookNotifier(hook.url, pause=0.01).notify("run failed", "")
    assert len(hook.bodies) == posts
    assert str(status) in str(error.value)
    assert "very-secret" not in str(error.value)


def test_a_webhook_that_is_away_is_an_error() -> None:
    with webhook(200) as hook:
        pass
    with pytest.raises(DeliveryError, match=r"webhook at 127\.0\.0\.1"):
        WebhookNotifier(hook.url, pause=0.01).notify("run failed", "")


def test_a_mail_goes_encrypted_and_logged_in_to_all(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mail_server(certificate) as server:
        url = f"smtp://{USER}:s3cret%2Fword@localhost:{server.port}"
        EmailNotifier(url, "pipeline@bank.example", ["ada@bank.example", "bob@bank.example"]).notify(
            "run failed\nBcc: eve@evil.example", "PostgreSQL cannot be reached"
        )
    (mail,) = server.mails
    header, _, body = mail.partition("\n\n")
    assert "Subject: run failed Bcc: eve@evil.example" in header
    assert "To: ada@bank.example, bob@bank.example" in header
    assert body.strip() == "PostgreSQL cannot be reached"
    assert (server.was_encrypted, server.logins) == ([True], [(USER, PASSWORD)])


def test_a_mail_without_a_login_goes_without_encryption() -> None:
    with mail_server() as server:
        EmailNotifier(f"smtp://localhost:{server.port}", "a@b.example", ["c@d.example"]).notify("hello", "there")
    assert (len(server.mails), server.was_encrypted) == (1, [False])


def test_a_password_never_goes_over_the_wire_unprotected() -> None:
    with mail_server() as server:
        url = f"smtp://{USER}:{PASSWORD.replace('/', '%2F')}@localhost:{server.port}"
        with pytest.raises(DeliveryError) as error:
            EmailNotifier(url, "a@b.example", ["c@d.example"]).notify("hello", "there")
    assert isinstance(error.value.__cause__, smtplib.SMTPNotSupportedError)
    assert server.logins == []


def test_a_server_that_nobody_vouches_for_is_not_trusted(certificate: Path) -> None:
    with mail_server(certificate) as server, pytest.raises(DeliveryError, match="SSLCertVerificationError"):
        EmailNotifier(f"smtp://localhost:{server.port}", "a@b.example", ["c@d.example"]).notify("hello", "there")
    assert server.mails == []


@pytest.mark.parametrize("refusal", ["550 no such user", "451 busy"])
def test_a_refused_mail_is_an_error(refusal: str) -> None:
    with mail_server(refuses=refusal) as server, pytest.raises(DeliveryError, match="mail server localhost"):
        EmailNotifier(f"smtp://localhost:{server.port}", "a@b.example", ["c@d.example"]).notify("hello", "there")


def test_a_wrong_password_is_an_error_that_does_not_repeat_it(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mail_server(certificate) as server, pytest.raises(DeliveryError, match="535") as error:
        EmailNotifier(f"smtp://eve:guessed@localhost:{server.port}", "a@b.example", ["c@d.example"]).notify("", "")
    assert "guessed" not in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: WebhookNotifier("ftp://host/secret"),
        lambda: WebhookNotifier("https:///secret"),
        lambda: EmailNotifier("http://secret@host", "a@b.example", ["c@d.example"]),
        lambda: EmailNotifier("smtp://secret@host:port", "a@b.example", ["c@d.example"]),
        lambda: EmailNotifier("smtp://secret@host", "a@b.example", []),
        lambda: EmailNotifier("smtp://secret@host", "a@b.example", ["c@d.example\r\nBcc: e@f.example"]),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(make: object) -> None:
    with pytest.raises(ConfigurationError, match="FRAUD_PIPELINE_") as error:
        make()  # type: ignore[operator]  # one of the lambdas above
    assert "secret" not in str(error.value)


def test_one_way_that_fails_stops_neither_the_others_nor_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    with webhook(404) as broken, webhook(200) as working:
        ways = [WebhookNotifier(broken.url), WebhookNotifier(working.url)]
        Notifiers(ways).notify("run failed", "why")
    assert [body["message"] for body in working.bodies] == ["why"]
    assert "404" in caplog.text
    assert "very-secret" not in caplog.text


def test_secrets_and_endless_text_stay_out_of_every_message() -> None:
    secrets = secret_parts("postgresql://app:hunter2@db/fraud")
    with webhook(200) as hook:
        message = "cannot open postgresql://app:hunter2@db/fraud or hunter2; password=abc " + "x" * 10_000
        Notifiers([WebhookNotifier(hook.url)], secrets).notify("s" * 500 + "hunter2", message)
    (body,) = hook.bodies
    assert "hunter2" not in str(body)
    assert "abc" not in str(body)
    assert len(body["message"]) < LONGEST_MESSAGE + 10


@given(
    st.text(alphabet="abcXYZ019-_", min_size=3), st.lists(st.sampled_from(["://", "@", "x", " ", "\n", "password="]))
)
def test_no_text_around_a_secret_makes_it_show(secret: str, around: list[str]) -> None:
    text = secret.join(["", *around, ""])
    assert secret not in redacted(text, [secret])
