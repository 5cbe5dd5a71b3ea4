"""Which addresses may be fetched from: http and https, and nothing that is further inside than the first address was.

A name is judged by what it resolves to, and the connection is made to that very address, so that a second answer of the
name service changes nothing.
"""

import ipaddress
import socket
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import quote, urljoin, urlsplit

from geoetl.datasets.upstream.errors import AddressRefused, SourceUnavailable

_PORTS = {"http": 80, "https": 443}
# As in a URL already; whatever else is in a path or query is percent-encoded.
_KEPT_IN_PATH = "%/:@!$&'()*+,;=~"
_KEPT_IN_QUERY = _KEPT_IN_PATH + "?"
# Where clouds tell a machine who it is and what it may do, outside of the link-local ranges: AWS, Google, Azure, Oracle
# and Alibaba.
_METADATA = frozenset(
    ipaddress.ip_address(each)
    for each in ("fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "192.0.0.192", "100.100.100.200")
)
# RFC 6052: an IPv4 address in the last 32 bits.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

type IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
type SocketAddress = tuple[socket.AddressFamily, tuple[str | int, ...] | tuple[int, bytes]]


class Reach(IntEnum):
    """How far inside an address is."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    NEVER = 3


@dataclass(frozen=True)
class Place:
    """Where an http or https address leads to.

    Attributes:
        scheme: "http" or "https".
        host: Its name in ASCII, lower case, or an IP address.
        port: TCP port.
        path: Percent-encoded, begins with "/".
        query: Percent-encoded, without "?".
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""

    def __repr__(self) -> str:
        return f"Place({self.scheme}, {self.host}, {self.port})"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What has to be the same for a credential to be sent."""
        return self.scheme, self.host, self.port

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def shown(self) -> str:
        """The address without its query, which often holds a signature or a key."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    def joined(self, location: str) -> "Place":
        """Return where a ``Location`` header leads to from here.

        Raises:
            AddressRefused: It is no http or https address.
        """
        try:
            url = urljoin(f"{self.shown}?{self.query}", location)
        except ValueError:
            raise _no_address() from None
        return parsed(url)


def parsed(url: str) -> Place:
    """Return where an address leads to.

    Raises:
        AddressRefused: It is no http or https address, or has a user or password in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError:  # UnicodeError, of names that cannot be written in ASCII, is one
        raise _no_address() from None
    if parts.username is not None or parts.password is not None:
        raise AddressRefused(
            "The address has a user name or a password in it.",
            hint="Give credentials as environment variables.",
            field="source_url",
        )
    if parts.scheme not in _PORTS or not host or port == 0 or not url.isprintable() or " " in host:
        raise _no_address()
    path = quote(parts.path or "/", safe=_KEPT_IN_PATH)
    return Place(parts.scheme, host, port or _PORTS[parts.scheme], path, quote(parts.query, safe=_KEPT_IN_QUERY))


def _no_address() -> AddressRefused:
    return AddressRefused(
        "That is no address to fetch from.", hint="Write it as https://HOST/PATH.", field="source_url"
    )


def resolved(place: Place, innermost: Reach | None) -> tuple[list[SocketAddress], Reach]:
    """Return what the name of a host stands for, and how far inside that is.

    Args:
        place: Its host.
        innermost: What may be reached; None for all but what never may, of a first address.

    Raises:
        AddressRefused: One of its addresses is further inside.
        SourceUnavailable: The name is not known, or the name service does not answer.
    """
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise SourceUnavailable(
            f"The name '{place.host}' is not known.",
            hint="Check the address of the source, and whether this machine reaches the network.",
            field="source_url",
        )
    reach = max(reach_of(ipaddress.ip_address(str(address[4][0]).partition("%")[0])) for address in found)
    if reach is Reach.NEVER or (innermost is not None and reach > innermost):
        raise AddressRefused(
            f"'{place.host}' is an address of this machine or its network, and is not connected to.",
            hint="Give the address of the source itself; it must not lead into the network that geoetl runs in.",
            field="source_url",
        )
    return [(address[0], address[4]) for address in found], reach


def reach_of(address: IPAddress) -> Reach:
    """Tell how far inside an address is; of one that carries another, the other."""
    if isinstance(address, ipaddress.IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if carried is not None:
            return reach_of(carried)
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return Reach.NEVER
    if address.is_loopback:
        return Reach.LOOPBACK
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE
