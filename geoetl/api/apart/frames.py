"""Frames: a JSON document and bytes, in one stream between two processes of one machine.

Each frame is two lengths of 4 bytes, then the document, then the bytes.  A document has the number of the request that
it belongs to as ``id``, and as ``what``:

=========== ============== =========================================================================================
``request`` to the process begin: the ASGI ``scope``, and whether its cost alone is looked at (``checking``)
``heard``   to the process the answer to ``hear``: an ASGI message that was received
``sent``    to the process the last ``body`` is on its way
``cancel``  to the process nobody waits any more
``hear``    to the server  hand over the next message that is received
``start``   to the server  ``status`` and ``headers`` of the answer, and the template of its ``route``
``body``    to the server  a part of the answer; ``more`` tells whether others follow
``end``     to the server  the request is done with
=========== ============== =========================================================================================
"""

import asyncio
import struct
from collections.abc import Iterable
from typing import Any

import orjson

_LENGTHS = struct.Struct(">II")

Frame = tuple[dict[str, Any], bytes]
Headers = Iterable[tuple[bytes, bytes]]


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """Return the next frame.

    Raises:
        asyncio.IncompleteReadError, ConnectionError: The other process has ended.
    """
    document_length, length = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    document = orjson.loads(await reader.readexactly(document_length))
    return document, await reader.readexactly(length) if length else b""


def write_frame(writer: asyncio.StreamWriter, document: dict[str, Any], content: bytes = b"") -> None:
    """Send a frame; what cannot be sent because the other process has ended is forgotten."""
    if writer.is_closing():
        return
    told = orjson.dumps(document)
    writer.write(_LENGTHS.pack(len(told), len(content)) + told)
    if content:
        writer.write(content)


def as_text(headers: Headers) -> list[tuple[str, str]]:
    """Return headers as JSON has them."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def as_bytes(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI has them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
