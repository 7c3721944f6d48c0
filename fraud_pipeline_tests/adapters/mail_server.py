"""A real SMTP server on a free port: as much of RFC 5321 as smtplib speaks, with STARTTLS and a login."""

import base64
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

USER, PASSWORD = "ada", "s3cret/word"


@dataclass
class MailServer:
    """What arrives, and how the server behaves.

    Parameters
    ----------
    certificate
        PEM file with key and certificate; without one there is no STARTTLS.
    refuses
        Answer to RCPT in place of 250.
    """

    certificate: Path | None = None
    refuses: str = ""
    port: int = 0
    mails: list[str] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    was_encrypted: list[bool] = field(default_factory=list)


@contextmanager
def mail_server(certificate: Path | None = None, refuses: str = "") -> Iterator[MailServer]:
    """Run a server in a thread."""
    state = MailServer(certificate, refuses)

    class Session(socketserver.StreamRequestHandler):
        def answer(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self) -> None:
            encrypted = False
            self.answer("220 here")
            while line := self.rfile.readline().decode().strip():
                verb, _, rest = line.partition(" ")
                match verb.upper():
                    case "EHLO":
                        offers = [
                            "localhost",
                            "AUTH PLAIN",
                            *(["STARTTLS"] if state.certificate and not encrypted else []),
                        ]
                        for offer in offers:
                            self.answer(f"250-{offer}")
                        self.answer("250 SIZE 1000000")
                    case "STARTTLS":
                        self.answer("220 go on")
                        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                        context.load_cert_chain(str(state.certificate))
                        self.connection = context.wrap_socket(self.connection, server_side=True)
                        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                        encrypted = True
                    case "AUTH":
                        _, user, password = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")
                        state.logins.append((user, password))
                        right = (user, password) == (USER, PASSWORD)
                        self.answer("235 welcome" if right else "535 no, not you: " + password)
                    case "RCPT" if state.refuses:
                        self.answer(state.refuses)
                    case "DATA":
                        self.answer("354 go on")
                        lines = []
                        while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                            lines.append(text)
                        state.mails.append("\n".join(lines))
                        state.was_encrypted.append(encrypted)
                        self.answer("250 taken")
                    case "QUIT":
                        self.answer("221 bye")
                        return
                    case _:
                        self.answer("250 fine")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.daemon_threads = True
        state.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        server.shutdown()


def make_certificate(folder: Path) -> Path:
    """Make a certificate for localhost that signs itself."""
    file = folder / "localhost.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    output = ["-days", "2", "-keyout", str(file), "-out", str(folder / "certificate.pem")]
    subprocess.run(  # noqa: S603 - constant arguments, the openssl of this host
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *output],  # noqa: S607
        check=True,
        capture_output=True,
    )
    certificate = (folder / "certificate.pem").read_text()
    file.write_text(file.read_text() + certificate)
    return file
