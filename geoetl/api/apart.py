"""A second event loop, in a thread of lower priority, where heavy requests are answered beside the light ones.

What a light request waits for on a busy server is its turn: for a core, and for the interpreter's lock. So heavy
requests are handled whole, from routing to the last byte of JSON, in an event loop of their own, whose threads the
kernel lets go after the others; and whoever waits for the lock is given it sooner.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Of 20 steps; a core that both want is then used nine parts in ten by the light one. More would leave a thread that
# holds the lock without a core when other programs are busy, and all would wait for it.
NICER_BY = 10
# How long a thread may keep the interpreter's lock while another one waits for it: a light request changes threads
# three times, and each time waits for as long. Python's own 5 ms cost it 15.
SWITCH_S = 0.0005
# So much of an answer is handed to the server at once: it copies it while nobody else has the lock, at 1 to 4 GB/s.
PIECE = 256 * 1024


class Apart:
    """Handle requests in a loop and threads of their own; the answers go out through the loop that was asked.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        home = asyncio.get_running_loop()

        def at_home(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def there(*arguments: Any) -> Any:
                return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_coroutine(call, *arguments), home))

            return there

        handled = _coroutine(self.app, scope, at_home(receive), _in_pieces(at_home(send)))
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(handled, self._started()))

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
                threading.Thread(target=_run, args=(self._loop,), name="geoetl-heavy", daemon=True).start()
            return self._loop


def _in_pieces(send: Send) -> Send:
    """Return a `send` that hands long bodies over piece by piece, each when the one before is on its way."""

    async def sending(message: Message) -> None:
        body, start = message.get("body", b""), 0
        while len(body) - start > PIECE:
            await send({**message, "body": body[start : start + PIECE], "more_body": True})
            start += PIECE
        await send({**message, "body": body[start:]} if start else message)

    return sending


async def _coroutine(call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    return await call(*arguments)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    # Elsewhere than on Linux a priority is that of the whole process. Threads that this one starts inherit it.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER_BY)
    asyncio.set_event_loop(loop)
    # Until the process ends; anyio keeps its threads for as long as what the loop runs at the top.
    loop.run_until_complete(asyncio.Event().wait())
