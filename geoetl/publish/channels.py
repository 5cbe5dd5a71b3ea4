"""The ways in which a notification goes out: an e-mail to one address, and a signed POST to one webhook.

A webhook is signed as Standard Webhooks has it (https://www.standardwebhooks.com): HMAC-SHA256 over
``id.timestamp.body``. The id is the same in every attempt, so that a receiver can tell what it has had already.
"""

import base64
import binascii
import hmac
import http.client
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from hashlib import sha256
from typing import Protocol
from urllib.parse import urlsplit

from geoetl.core.errors import Unavailable
from geoetl.core.settings import NotifySettings
from geoetl.publish.messages import Notice

_PREFIX = "whsec_"
_KEY_LENGTH = 12
# Statuses that say that a server is in no state to answer anybody, not that it does not like this one.
_BUSY = frozenset({408, 425, 429})


class Undelivered(Unavailable):
    """A notification did not go out; the sentence holds no address, no secret and nothing that the other side wrote.

    Attributes:
        is_down: Whether nothing else will go out there for now either.
    """

    code = "undelivered"
    title = "A notification did not go out"

    def __init__(self, detail: str, *, is_down: bool = True) -> None:
        super().__init__(detail, hint="It is tried again by itself.")
        self.is_down = is_down


class Channel(Protocol):
    """One receiver."""

    @property
    def key(self) -> str:
        """What tells it from every other; its address cannot be had from it."""

    def send(self, notice: Notice) -> None:
        """Send a notification there.

        Raises:
            Undelivered: It did not go out, as far as can be known.
        """


@dataclass(frozen=True)
class Webhook:
    """An address that is told by POST.

    Args:
        url: The address, http or https.
        secret: What is signed with.
        timeout_s: Time for all of it, seconds.
        clock: Gives Unix time.
    """

    url: str = field(repr=False)
    secret: str = field(repr=False)
    timeout_s: float
    clock: Callable[[], float] = time.time

    @property
    def key(self) -> str:
        """See `Channel`."""
        return f"webhook {_digest(self.url)}"

    def send(self, notice: Notice) -> None:
        """See `Channel`; a redirect is not followed, as it may lead anywhere."""
        parts = urlsplit(self.url)
        is_tls = parts.scheme == "https"
        host, port = str(parts.hostname), parts.port or (443 if is_tls else 80)
        body, now = notice.body(), int(self.clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "geoetl",
            "Connection": "close",
            "webhook-id": notice.id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self.secret, notice.id, now, body),
        }
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with _told(host, self.timeout_s) as guard:
            kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
            connection = kind(host, port)
            # Connected by ourselves, so that the handshake of TLS is watched too.
            connection.sock = socket.create_connection((host, port), self.timeout_s)
            with closing(connection), guard.watching(connection.sock):
                if is_tls:
                    connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=host)
                    guard.sock = connection.sock
                connection.request("POST", target, body, headers)
                with connection.getresponse() as response:
                    status = response.status
        if 300 <= status < 400:
            raise Undelivered(f"{host} answered {status}, a redirect, which is not followed.", is_down=False)
        if not 200 <= status < 300:
            raise Undelivered(f"{host} answered {status}.", is_down=status >= 500 or status in _BUSY)


@dataclass
class MailServer:
    """The server that takes e-mail; a connection is kept from one to the next, until `close`.

    Args:
        settings: Where it is, and how to sign in.
        timeout_s: Time for each e-mail, seconds.
    """

    settings: NotifySettings
    timeout_s: float
    _client: smtplib.SMTP | None = field(default=None, init=False, repr=False)

    def send(self, message: EmailMessage) -> None:
        """Send an e-mail to its one recipient.

        Raises:
            Undelivered: It was not taken, as far as can be known.
        """
        host = str(self.settings.smtp_host)
        try:
            with _told(host, self.timeout_s) as guard:
                client = self._client = self._client or self._connected(host)
                with guard.watching(client.sock):
                    if not client.ehlo_resp:
                        self._sign_in(client, host)
                    client.send_message(message)
        except Undelivered:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self, host: str) -> smtplib.SMTP:
        if self.settings.smtp_security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(host, self.settings.smtp_port, timeout=self.timeout_s, context=context)
        return smtplib.SMTP(host, self.settings.smtp_port, timeout=self.timeout_s)

    def _sign_in(self, client: smtplib.SMTP, host: str) -> None:
        client.ehlo()
        if self.settings.smtp_security == "starttls":
            client.starttls(context=ssl.create_default_context())
            client.ehlo()
        if self.settings.smtp_user and self.settings.smtp_password:
            client.login(self.settings.smtp_user, self.settings.smtp_password.get_secret_value())


@dataclass(frozen=True)
class Mailbox:
    """An address that gets e-mail; each one gets its own, and sees no other.

    Args:
        server: What takes it.
        address: Whose it is.
        name_of: Tells how the principal of an id is called.
    """

    server: MailServer = field(repr=False)
    address: str
    name_of: Callable[[str], str] = field(repr=False)

    @property
    def key(self) -> str:
        """See `Channel`."""
        return f"mail {_digest(self.address.casefold())}"

    def send(self, notice: Notice) -> None:
        """See `Channel`."""
        sender = str(self.server.settings.sender)
        domain = sender.rpartition("@")[2]
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, self.address, notice.subject
        message["Date"] = formatdate(notice.payload["at"])
        message["Message-ID"] = f"<{notice.id}.{_digest(self.address.casefold())}@{domain}>"
        # One thread for each release.
        message["References"] = f"<release.{notice.payload['release_id']}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers it
        message.set_content(notice.text(self.name_of))
        self.server.send(message)


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """Return the header that signs a webhook: ``v1,`` and base64 of HMAC-SHA256 over ``id.timestamp.body``.

    Source: Standard Webhooks, "Signature scheme". A secret that begins with ``whsec_`` is base64 of the key, any other
    text is the key itself.
    """
    key = secret.encode()
    if secret.startswith(_PREFIX):
        with suppress(binascii.Error, ValueError):
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    signed = hmac.digest(key, f"{id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(signed).decode()}"


# -- time, and what went wrong ---------------------------------------------------------------------------------------


@dataclass
class _Guard:
    """Ends a conversation that takes too long as a whole; a time limit of a socket is one of each read."""

    seconds: float
    sock: socket.socket | None = None
    fired: bool = False

    @contextmanager
    def watching(self, sock: socket.socket | None) -> Iterator[None]:
        self.sock = sock
        timer = threading.Timer(self.seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self) -> None:
        self.fired = True
        if self.sock is not None:
            with suppress(OSError):
                # Of the plain socket: that of TLS would be taken away from under who reads.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


@contextmanager
def _told(host: str, seconds: float) -> Iterator[_Guard]:
    """Turn what goes wrong with a server into a sentence of ours, and close a socket that is watched alone."""
    guard = _Guard(seconds)
    try:
        yield guard
    except (OSError, EOFError, ValueError, smtplib.SMTPException, http.client.HTTPException) as error:
        if guard.fired:
            raise Undelivered(f"{host} did not answer within {seconds:g} s.") from None
        what, is_down = _meaning(error, seconds)
        raise Undelivered(f"{host} {what}.", is_down=is_down) from None


def _meaning(error: Exception, seconds: float) -> tuple[str, bool]:
    """Return what an error says of a server, and whether it is down for everybody; no word of the server's own."""
    if isinstance(error.__context__, TimeoutError):  # smtplib takes it for a connection that was closed
        error = error.__context__
    match error:
        case smtplib.SMTPAuthenticationError():
            return f"did not take the user or the password ({error.smtp_code})", True
        case smtplib.SMTPRecipientsRefused():
            code = next((code for code, _ in error.recipients.values()), 0)
            return f"did not take the recipient ({code})", False
        case smtplib.SMTPSenderRefused():
            return f"did not take the sender ({error.smtp_code})", True
        case smtplib.SMTPDataError():
            return f"did not take the text ({error.smtp_code})", False
        case smtplib.SMTPResponseException():
            return f"answered {error.smtp_code}", True
        case smtplib.SMTPNotSupportedError():
            return "does not offer what is needed (STARTTLS, signing in, or such an address)", True
        case smtplib.SMTPServerDisconnected() | http.client.RemoteDisconnected() | ConnectionResetError():
            return "closed the connection", True
        case ssl.SSLCertVerificationError():
            return "has a certificate that is not trusted", True
        case ssl.SSLError():
            return "does not speak TLS as is needed", True
        case TimeoutError():
            return f"did not answer within {seconds:g} s", True
        case socket.gaierror():
            return "is a name that is not known", True
        case ConnectionRefusedError():
            return "does not take connections", True
        case OSError():
            return "cannot be reached", True
        case _:
            return "did not answer as it has to", True


def _digest(address: str) -> str:
    return sha256(address.encode()).hexdigest()[:_KEY_LENGTH]
