"""Tells people that something needs them: in the log, by a webhook, by e-mail."""

import json
import logging
import re
import smtplib
import ssl
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.client import HTTPException
from typing import Final, Protocol
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from fraud_pipeline.core.errors import ConfigurationError

LONGEST_MESSAGE: Final = 4000
"""Characters: chat services refuse much more, and nobody reads it."""
_LONGEST_SUBJECT: Final = 200
_ATTEMPTS: Final = 3
_LOG: Final = logging.getLogger("fraud_pipeline")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
_PASSWORD: Final = re.compile(r"(?i)\b((?:password|passwd|pwd|secret|token|api_?key)\s*[=:]\s*)[^\s,;&'\"]+")


class Notifier(Protocol):
    """Anything that can deliver a short message."""

    def notify(self, subject: str, message: str) -> None:
        """Deliver one message."""


class DeliveryError(Exception):
    """A message did not arrive; says where it was to go, without credentials, and why not."""


class LogNotifier:
    """Writes the message to the log as an error."""

    def notify(self, subject: str, message: str) -> None:
        """Log ``subject: message`` at level ERROR."""
        _LOG.error("%s: %s", subject, message)


@dataclass(frozen=True)
class WebhookNotifier:
    """Posts ``{"subject", "message", "text"}`` as JSON, as chat services and incident tools take it.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``; may hold a secret, so it is never shown.
    timeout : float
        Seconds for each attempt.
    pause : float
        Seconds before the second attempt; twice as long before the third.

    Raises
    ------
    ConfigurationError
        The URL is of another kind.
    """

    url: str = field(repr=False)
    timeout: float = 5.0
    pause: float = 1.0

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise ConfigurationError("FRAUD_PIPELINE_NOTIFY_WEBHOOK_URL is no http:// or https:// address; correct it.")

    def notify(self, subject: str, message: str) -> None:
        """Post one message; what is busy or out of reach is tried again.

        Raises
        ------
        DeliveryError
            No attempt was accepted.
        """
        body = json.dumps({"subject": subject, "message": message, "text": f"{subject}\n{message}"}).encode()
        request = Request(self.url, body, {"Content-Type": "application/json", "User-Agent": "fraud-pipeline"})  # noqa: S310 - checked above
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                build_opener(_NoRedirect).open(request, timeout=self.timeout).close()
                return
            except HTTPError as error:
                reason, is_final = f"status {error.code}", error.code < 500 and error.code not in (408, 429)
            except (OSError, HTTPException) as error:
                reason, is_final = type(error).__name__, False
            if is_final or attempt == _ATTEMPTS:
                raise DeliveryError(f"the webhook at {urlsplit(self.url).hostname} did not take it: {reason}")
            time.sleep(self.pause * 2 ** (attempt - 1))


@dataclass(frozen=True)
class EmailNotifier:
    """Sends the message by SMTP, never over a connection without encryption if it has a password to protect.

    Parameters
    ----------
    url : str
        ``smtp://user:password@host:port`` (STARTTLS where the server has it) or ``smtps://…`` (TLS from the start).
    sender : str
    recipients : sequence of str
    timeout : float
        Seconds for each step of the conversation.

    Raises
    ------
    ConfigurationError
        The URL is of another kind, or there is no recipient.
    """

    url: str = field(repr=False)
    sender: str
    recipients: Sequence[str]
    timeout: float = 10.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_usable = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            is_usable = False
        if not is_usable:
            raise ConfigurationError("FRAUD_PIPELINE_SMTP_URL is no smtp:// or smtps:// address; correct it.")
        if not self.recipients:
            raise ConfigurationError("FRAUD_PIPELINE_SMTP_URL is set but FRAUD_PIPELINE_NOTIFY_EMAIL_TO is empty.")
        if re.search(r"[\r\n]", " ".join([self.sender, *self.recipients])):
            raise ConfigurationError("An address of FRAUD_PIPELINE_NOTIFY_EMAIL_… has a line break; remove it.")

    def notify(self, subject: str, message: str) -> None:
        """Send one message to all recipients.

        Raises
        ------
        DeliveryError
            The server cannot be reached or refuses the login, the sender or every recipient.
        """
        mail = EmailMessage()
        mail["From"], mail["To"] = self.sender, ", ".join(self.recipients)
        mail["Subject"] = " ".join(subject.split())  # a line break would begin another header
        mail.set_content(message)
        try:
            with self.connect() as server:
                server.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            reason = f"{type(error).__name__} {getattr(error, 'smtp_code', '')}".strip()
            raise DeliveryError(f"the mail server {urlsplit(self.url).hostname} did not take it: {reason}") from error

    def connect(self) -> smtplib.SMTP:
        """Open a session: encrypted if the server can, logged in if the URL has a user.

        Raises
        ------
        OSError, smtplib.SMTPException
            It cannot be opened; ``SMTPNotSupportedError`` if a password would go over the wire unprotected.
        """
        parts, tls = urlsplit(self.url), ssl.create_default_context()
        host = parts.hostname or ""
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or 465, timeout=self.timeout, context=tls)
        else:
            server = smtplib.SMTP(host, parts.port or 587, timeout=self.timeout)
        try:
            server.ehlo()
            if parts.scheme == "smtp" and server.has_extn("starttls"):
                server.starttls(context=tls)
            elif parts.scheme == "smtp" and parts.username:
                raise smtplib.SMTPNotSupportedError("the server has no STARTTLS, so the password is not sent")
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
        except BaseException:
            server.close()
            raise
        return server


class Notifiers:
    """Several ways at once, free of secrets; one that fails stops neither the others nor the caller: the log says so.

    Parameters
    ----------
    ways : sequence of Notifier
    secrets : collection of str
        Texts that no message may hold.
    """

    def __init__(self, ways: Sequence[Notifier], secrets: Collection[str] = ()) -> None:
        self._ways = tuple(ways)
        self._secrets = frozenset(secrets)

    def notify(self, subject: str, message: str) -> None:
        """Deliver one message every way there is; never raises for a delivery."""
        # Cut last: half a secret would not be recognised.
        limits = ((subject, _LONGEST_SUBJECT), (message, LONGEST_MESSAGE))
        safe = [shortened(redacted(text, self._secrets), limit) for text, limit in limits]
        for way in self._ways:
            try:
                way.notify(*safe)
            except DeliveryError as error:
                _LOG.warning("A notification was not delivered: %s.", error)


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """Blank out known secrets, credentials in URLs, and what follows ``password=`` and the like."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _PASSWORD.sub(r"\1***", _CREDENTIALS.sub("***@", text))


def shortened(text: str, limit: int) -> str:
    """Give the text, or its beginning and an ellipsis."""
    return text if len(text) <= limit else f"{text[:limit]} …"


def secret_parts(secret: str) -> list[str]:
    """List what must not be shown of a secret: all of it, and where it is a URL, its password."""
    try:
        password = urlsplit(secret).password
    except ValueError:
        password = None
    return [secret, *({password, unquote(password)} if password else ())]


class _NoRedirect(HTTPRedirectHandler):
    """A redirected POST would become a GET that delivers nothing."""

    def redirect_request(self, *_args: object, **_options: object) -> None:
        return None
