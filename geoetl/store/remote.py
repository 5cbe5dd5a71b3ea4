"""Files in object stores: which of them may be read, and reading them in few requests.

Credentials come from the environment alone, by the names that obstore knows (``AWS_ACCESS_KEY_ID``…, ``AZURE_…``,
``GOOGLE_…``), as does the endpoint of a store that is not the provider's own: ``AWS_ENDPOINT_URL``, with
``AWS_ALLOW_HTTP`` where it speaks HTTP. An address is the URL of a root and the object's key behind it as it is; no
part of it is decoded, and none of it ever chooses the host.
"""

import io
import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from geoetl.core.errors import (
    ConfigurationError,
    GeoetlError,
    LimitExceeded,
    NotFound,
    Unavailable,
    VerificationFailed,
)
from geoetl.core.identifiers import digest

SCHEMES = ("s3", "az", "gs", "memory")
# Headers are scattered over a file in small pieces: a block of this size costs hardly more time than its request.
BLOCK_BYTES = 1024**2
BLOCKS_KEPT = 32
# At 100 MB/s a gap of this size takes 3 ms, a tenth of a request of which ten run side by side.
GAP_BYTES = 256 * 1024
# NetCDF-3 is copied here whole to be read.
COPIED_BYTES = 64 * 1024**2
# Objects that are asked after side by side.
REQUESTS = 16
_RETRY_S = 30.0
_ROOT = re.compile(rf"({'|'.join(SCHEMES)})://[A-Za-z0-9._-]*(/[A-Za-z0-9._~+=,@-]+)*")
# One of these says how requests to S3 are signed, or that they are not; without any the library would look for a
# metadata service for minutes.
_S3_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
    "AWS_SKIP_SIGNATURE",
)


@dataclass(frozen=True)
class Stamp:
    """What tells one version of a file from another.

    Attributes:
        bytes: Its size.
        modified_ns: Time of its last change, Unix nanoseconds.
        etag: Version that an object store gives it; None for a local file.
    """

    bytes: int
    modified_ns: int
    etag: str | None = None


def is_remote(address: str) -> bool:
    """Tell whether an address is a URL of an object store."""
    return address.partition("://")[0] in SCHEMES and "://" in address


@dataclass(frozen=True)
class RemoteRoot:
    """A bucket, or a prefix in one, whose objects may be read.

    Args:
        url: ``s3://BUCKET/PREFIX``, ``az://…`` or ``gs://…``; ``memory://`` is empty at first and of this object alone.
    """

    url: str

    def __post_init__(self) -> None:
        if not _ROOT.fullmatch(self.url) or {".", ".."} & set(self.url.split("/")):
            raise ConfigurationError(
                f"'{self.url[:80]}' is no place in an object store whose files may be read.",
                hint="Write it as s3://BUCKET/PREFIX, az://CONTAINER/PREFIX or gs://BUCKET/PREFIX, without a / behind.",
                field="GEOETL_ALLOWED_ROOTS",
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}  # the connection is made anew in another process

    @cached_property
    def store(self) -> Any:
        """The connection, made at the first use.

        Raises:
            ConfigurationError: The environment has no credentials, or not all that the store needs.
        """
        from obstore.exceptions import BaseError
        from obstore.store import from_url

        if self.url.startswith("s3:") and not any(os.environ.get(name) for name in _S3_CREDENTIALS):
            raise _no_access(self.url, "the environment has no credentials")
        if self.url.startswith("memory:"):
            return from_url(self.url)
        retry = {"max_retries": 5, "retry_timeout": timedelta(seconds=_RETRY_S)}
        try:
            return from_url(self.url, retry_config=retry)  # type: ignore[call-overload]
        except (BaseError, ValueError):
            # What the library says may hold what it was configured with.
            raise _no_access(self.url, "the environment does not say all that is needed") from None

    def key(self, address: str) -> str | None:
        """Return the key of an address below the root, empty for the root itself; None where it lies elsewhere."""
        if address == self.url:
            return ""
        key = address.removeprefix(f"{self.url}/")
        is_plain = all(part not in ("", ".", "..") for part in key.split("/")) and key.isprintable()
        return key if key != address and is_plain else None

    def find(self, key: str) -> "RemoteFile":
        """Return the object of a key; or the prefix, where there are objects below it.

        Raises:
            NotFound: There is neither.
            ConfigurationError, Unavailable: It cannot be asked after.
        """
        import obstore

        there = RemoteFile(self, key)
        if key:
            try:
                with _as_ours(str(there)):
                    return RemoteFile(self, key, _stamp(obstore.head(self.store, key)))
            except NotFound:
                if next(there.objects(), None) is None:
                    raise
        return there


@dataclass(frozen=True)
class RemoteFile:
    """An object as it was when it was asked after, or a prefix; like a `Path` where cubes are concerned.

    Attributes:
        root: Where it lies.
        key: Its key below the root.
        stamp: What it was like; None for a prefix.
    """

    root: RemoteRoot
    key: str
    stamp: Stamp | None = None

    def __str__(self) -> str:
        return f"{self.root.url}/{self.key}" if self.key else self.root.url

    def __truediv__(self, name: str) -> "RemoteFile":
        return RemoteFile(self.root, f"{self.key}/{name}" if self.key else name)

    @property
    def name(self) -> str:
        """The last part of its address."""
        return str(self).rpartition("/")[2]

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> "RemoteFile":
        """The prefix that it lies under."""
        return RemoteFile(self.root, self.key.rpartition("/")[0])

    @property
    def size(self) -> int:
        """Its size; 0 for a prefix."""
        return self.stamp.bytes if self.stamp else 0

    def is_file(self) -> bool:
        """Tell whether it is an object."""
        return self.stamp is not None

    def is_dir(self) -> bool:
        """Tell whether it is a prefix."""
        return self.stamp is None

    def objects(self) -> Iterator[tuple[str, Stamp]]:
        """Yield the objects below a prefix: name relative to it, and what each is like.

        Raises:
            ConfigurationError, NotFound, Unavailable: They cannot be listed.
        """
        import obstore

        prefix = f"{self.key}/" if self.key else ""
        with _as_ours(str(self)):
            for batch in obstore.list(self.root.store, prefix=prefix or None):
                for found in batch:
                    yield str(found["path"]).removeprefix(prefix), _stamp(found)

    def fingerprint(self) -> str:
        """Return a digest of the object or of all below the prefix by names, sizes and versions; nothing is read.

        Raises:
            ConfigurationError, NotFound, Unavailable: They cannot be listed.
        """
        found = [(self.name, self.stamp)] if self.stamp else sorted(self.objects(), key=lambda each: each[0])
        return digest([[name, stamp.bytes, stamp.modified_ns, stamp.etag] for name, stamp in found])

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the version that was asked after.

        Raises:
            ValueError: They reach beyond its end.
            VerificationFailed: The object has changed.
            NotFound: It is gone.
            ConfigurationError, Unavailable: It cannot be read.
        """
        import obstore

        if offset < 0 or size < 0 or offset + size > self.size:
            raise ValueError(f"{size} bytes at {offset} reach beyond the end of the object ({self.size} bytes)")
        if size == 0:
            return b""
        options: dict[str, Any] = {"range": (offset, offset + size)}
        if self.stamp and self.stamp.etag:
            options["if_match"] = self.stamp.etag
        with _as_ours(str(self)):
            found = bytes(obstore.get(self.root.store, self.key, options=options).bytes())  # type: ignore[arg-type]
        if len(found) != size:
            raise VerificationFailed(f"'{self.name}' has changed while it was read.", hint="Read it again.")
        return found


SourcePath = Path | RemoteFile


class RemoteReader(io.RawIOBase):
    """The bytes of an object as a file, and many ranges of them at once.

    Small reads are served from blocks of 1 MiB, of which the last few are kept. What is asked for at once is fetched
    side by side, ranges that lie close together as one.

    Args:
        file: The object.
    """

    gap = GAP_BYTES

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self.file = file
        self.size = file.size
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from any place."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        """Return the place."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the place onwards; return how many bytes there were."""
        size = max(min(len(buffer), self.size - self._position), 0)
        buffer[:size] = self.read_at(self._position, size)
        self._position += size
        return size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`.

        Raises:
            ValueError: They reach beyond the end of the object.
            VerificationFailed, NotFound, ConfigurationError, Unavailable: See `RemoteFile.read`.
        """
        if offset < 0 or offset + size > self.size:
            raise ValueError(f"{size} bytes at {offset} reach beyond the end of the object ({self.size} bytes)")
        if size > BLOCK_BYTES or size == 0:
            return self.file.read(offset, size)
        first = offset // BLOCK_BYTES
        parts = [self._block(number) for number in range(first, (offset + size - 1) // BLOCK_BYTES + 1)]
        begin = offset - first * BLOCK_BYTES
        return (parts[0] if len(parts) == 1 else b"".join(parts))[begin : begin + size]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several ranges, each (offset, size), fetched side by side.

        Raises:
            ValueError: One reaches beyond the end of the object.
            VerificationFailed, NotFound, ConfigurationError, Unavailable: See `RemoteFile.read`.
        """
        return together(lambda wanted: self._range(*wanted), ranges)

    def _range(self, offset: int, size: int) -> bytes:
        numbers = range(offset // BLOCK_BYTES, (offset + max(size, 1) - 1) // BLOCK_BYTES + 1)
        is_kept = all(number in self._blocks for number in numbers)
        return self.read_at(offset, size) if is_kept else self.file.read(offset, size)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            begin = number * BLOCK_BYTES
            self._blocks[number] = self.file.read(begin, min(BLOCK_BYTES, self.size - begin))
            if len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]


@contextmanager
def local_copy(file: RemoteFile) -> Iterator[Path]:
    """Give a copy of a small object on this machine.

    Raises:
        LimitExceeded: It is larger than `COPIED_BYTES`.
        VerificationFailed, NotFound, ConfigurationError, Unavailable: See `RemoteFile.read`.
    """
    if file.size > COPIED_BYTES:
        raise LimitExceeded(
            f"'{file.name}' is NetCDF-3 of {file.size / 1024**2:,.0f} MiB in an object store; up to "
            f"{COPIED_BYTES / 1024**2:.0f} MiB are copied here to be read.",
            hint="Copy it into a folder that may be read, or store it as NetCDF-4.",
            field="source",
        )
    with tempfile.TemporaryDirectory(prefix="geoetl-") as folder:
        path = Path(folder) / file.name
        path.write_bytes(file.read(0, file.size))
        yield path


def stamp_of(path: SourcePath) -> Stamp:
    """Return what a file is like now; of an object, what it was like when it was asked after.

    Raises:
        OSError: It is gone.
    """
    if isinstance(path, RemoteFile):
        return path.stamp or Stamp(0, 0)
    found = path.stat()
    return Stamp(found.st_size, found.st_mtime_ns)


def together[A, T](function: Callable[[A], T], items: Sequence[A]) -> list[T]:
    """Call a function that waits for a store for each of several items, side by side; return what it gives in order."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(len(items), REQUESTS)) as pool:
        return list(pool.map(function, items))


def _stamp(found: Any) -> Stamp:
    # In whole microseconds: a float of nanoseconds would be off by a hundred.
    modified = found["last_modified"]
    return Stamp(int(found["size"]), int(modified.timestamp()) * 10**9 + modified.microsecond * 1000, found["e_tag"])


@contextmanager
def _as_ours(address: str) -> Iterator[None]:
    """Turn what obstore raises into errors of ours, which say nothing of credentials or of the library's settings."""
    from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

    try:
        yield
    except FileNotFoundError:
        raise _not_there(address) from None
    except (PermissionDeniedError, UnauthenticatedError):
        raise _no_access(address, "the store refuses these credentials") from None
    except PreconditionError:
        raise VerificationFailed(
            f"'{address}' has changed since it was asked after.", hint="Read it again.", field="source"
        ) from None
    except (BaseError, OSError, ValueError) as error:
        # Listings report every refusal as a general error.
        status = re.search(r"status code: (\d{3})", str(error))
        raise _refused(address, status[1] if status else None) from None


def _refused(address: str, status: str | None) -> GeoetlError:
    if status == "404":
        return _not_there(address)
    if status in ("401", "403"):
        return _no_access(address, "the store refuses these credentials")
    return Unavailable(
        f"The store of '{address}' {f'answers with status {status}' if status else 'does not answer'}.",
        hint="Try again; if it happens again, check the network and the endpoint (AWS_ENDPOINT_URL, AWS_ALLOW_HTTP).",
        field="source",
    )


def _not_there(address: str) -> NotFound:
    return NotFound(f"There is no object '{address}', and none below it.", hint="Check bucket and key.", field="source")


def _no_access(address: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"'{address}' cannot be read: {reason}.",
        hint="Set the credentials in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_…, "
        "GOOGLE_…; AWS_SKIP_SIGNATURE=true for a public bucket) and start again.",
        field="source",
    )
