"""An SSH server on loopback, for whoever has the key that is made for it."""

import asyncio
import importlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def ssh_to_here(home: Path) -> Iterator[None]:
    """Let ``ssh 127.0.0.1`` work without a question for who has `home` as home folder."""
    asyncssh: Any = importlib.import_module("asyncssh")
    host_key, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    folder = home / ".ssh"
    folder.mkdir()
    key.write_private_key(folder / "id_ed25519")
    (folder / "authorized_keys").write_bytes(key.export_public_key())

    async def execute(process: Any) -> None:
        child = await asyncio.create_subprocess_shell(
            process.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        await process.redirect(stdout=child.stdout, stderr=child.stderr)
        ended, left = asyncio.ensure_future(child.wait()), asyncio.ensure_future(process.wait_closed())
        await asyncio.wait({ended, left}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            os.killpg(child.pid, signal.SIGKILL)
        process.exit(await ended)

    async def listen() -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            authorized_client_keys=str(folder / "authorized_keys"),
            process_factory=execute,
        )

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    port = server.get_port()
    (folder / "config").write_text(f"Host 127.0.0.1\n  Port {port}\n  IdentityFile {folder / 'id_ed25519'}\n")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key.export_public_key().decode()}")
    yield
    asyncio.run_coroutine_threadsafe(_end(server), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


async def _end(server: Any) -> None:
    """Close the server, and let what it executes come to its end."""
    server.close()
    await server.wait_closed()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=10)
