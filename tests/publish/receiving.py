"""A mail server on this machine that keeps what it gets, and does what it is told wrong."""

import base64
import email
import email.policy
import socketserver
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from types import TracebackType
from typing import ClassVar, Self

USER, PASSWORD = "geoetl", "hunter2 hunter2"


@dataclass
class MailDrop:
    """The server; it begins with the block.

    Attributes:
        tls: Offered with STARTTLS, and asked for before anybody signs in.
        first: What it begins with instead of a greeting.
        answers: What it answers to a command instead, by its first word; None closes the connection.
        mail: What it got, with each recipient.
        connections: How many there were.
    """

    tls: ssl.SSLContext | None = None
    first: str = "220 drop ESMTP"
    answers: dict[str, str | None] = field(default_factory=dict)
    mail: list[tuple[str, EmailMessage]] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Talk)
        self._server.drop = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def subjects(self) -> list[tuple[str, str]]:
        """Recipient and subject of each."""
        return [(to, str(message["Subject"])) for to, message in self.mail]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    drop: MailDrop


class _Talk(socketserver.StreamRequestHandler):
    server: _Server
    is_secret = False

    def handle(self) -> None:
        drop = self.server.drop
        drop.connections += 1
        recipients: list[str] = []
        self.say(drop.first)
        while line := self.rfile.readline():
            text = line.decode().strip()
            word = text.partition(" ")[0].upper()
            if word in drop.answers:
                answer = drop.answers[word]
                if answer is None:
                    return
                self.say(answer)
            elif word == "RCPT":
                recipients.append(text.partition("<")[2].partition(">")[0])
                self.say("250 ok")
            elif word == "DATA":
                self.say("354 go on")
                self.take(recipients)
                recipients = []
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.commands.get(word, _Talk.unknown)(self, text)

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def unknown(self, _: str) -> None:
        self.say("502 what?")

    def hello(self, _: str) -> None:
        offered = []
        if self.server.drop.tls is not None:
            offered = ["AUTH PLAIN"] if self.is_secret else ["STARTTLS"]
        self.say("\r\n".join(["250-drop", *(f"250-{name}" for name in offered), "250 SIZE 1000000"]))

    def encrypt(self, _: str) -> None:
        assert self.server.drop.tls is not None
        self.say("220 go on")
        self.request = self.server.drop.tls.wrap_socket(self.request, server_side=True)
        self.is_secret = True
        self.setup()

    def sign_in(self, text: str) -> None:
        given = base64.b64decode(text.rpartition(" ")[2]).decode().split("\0")[1:]
        is_right = self.is_secret and given == [USER, PASSWORD]
        self.say("235 come in" if is_right else f"535 no: {given}")

    def accept(self, _: str) -> None:
        self.say("250 ok")

    def take(self, recipients: list[str]) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.server.drop.mail += [(one, message) for one in recipients]
        self.say("250 taken")

    commands: ClassVar[dict[str, Callable[["_Talk", str], None]]] = {
        "EHLO": hello,
        "STARTTLS": encrypt,
        "AUTH": sign_in,
        "MAIL": accept,
        "RSET": accept,
    }
