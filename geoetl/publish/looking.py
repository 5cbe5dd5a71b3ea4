"""The child that opens what was published as strangers do: it has no settings, no secrets, and no way inside.

Run as ``python -m geoetl.publish.looking`` by `geoetl.publish.probing`: it reads one question as JSON, and answers with
a list of findings. Where the kernel has Landlock, nothing but the external zone and the libraries can be opened, by
whatever library; elsewhere an audit hook refuses what Python opens.
"""

import ctypes
import json
import os
import struct
import sys
import sysconfig
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

# include/uapi/linux/landlock.h and prctl.h; the numbers of the calls are those of every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _READ_FILE, _READ_DIR, _BENEATH = 1 << 0, 1 << 2, 1 << 3, 1
_NO_NEW_PRIVS = 38
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/dev", "/proc", "/sys", "/opt", "/run/systemd/resolve")
_WAIT_S = 10.0
_MAX_JSON = 256 * 1024**2
_VARIABLES_READ = 16
Findings = list[dict[str, str]]


def allowed_folders(outside: str | None) -> list[str]:
    """Return what this process may read: the external zone, where it is a folder, and what Python is made of."""
    python = {sys.prefix, sys.base_prefix, sysconfig.get_paths()["stdlib"], str(Path(__file__).resolve().parents[1])}
    return [*_SYSTEM, *sorted(python), *([outside] if outside else [])]


def lock_in(allowed: Sequence[str]) -> bool:
    """Let the kernel refuse to open anything that does not lie below one of some folders; tell whether it will.

    Source: Landlock, https://docs.kernel.org/userspace-api/landlock.html
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    handled = _EXECUTE | _READ_FILE | _READ_DIR
    attributes = ctypes.create_string_buffer(struct.pack("=Q", handled))
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    for folder in allowed:
        try:
            handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # not on this machine
        rule = ctypes.create_string_buffer(struct.pack("=Qi", handled, handle))
        libc.syscall(_ADD_RULE, ruleset, _BENEATH, rule, 0)
        os.close(handle)
    is_bound: bool = libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return is_bound


def refuse_inside(inside: Sequence[str], allowed: Sequence[str]) -> None:
    """Let Python refuse to open or list what lies below some folders, unless it is allowed."""
    kept = tuple(f"{os.path.realpath(folder)}/" for folder in allowed)
    closed = tuple(f"{os.path.realpath(folder)}/" for folder in inside)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.listdir", "os.scandir") or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path = f"{os.path.realpath(os.fsdecode(arguments[0]))}/"
        if path.startswith(closed) and not path.startswith(kept):
            raise PermissionError(13, "it lies inside")

    sys.addaudithook(watch)


# -- what is looked at -------------------------------------------------------------------------------------------------


class _Look:
    """One release, by its address on the web or its folder.

    Args:
        place: Address or folder of the release.
        base: What absolute addresses in references begin with: the address of the release.
        item: Id of the item.
    """

    def __init__(self, place: str, base: str, item: str) -> None:
        self.place, self.base, self.item = place, base, item
        self.is_web = place.startswith(("http://", "https://"))

    def read(self, name: str, size: int | None = None) -> bytes:
        """Return the content of an object, or how it begins."""
        if not self.is_web:
            with Path(self.place, name).open("rb") as file:
                return file.read(-1 if size is None else size)
        asked = {} if size is None else {"Range": f"bytes=0-{size - 1}"}
        # Only ever one of http or https, see `is_web`.
        request = urllib.request.Request(f"{self.place}/{name}", headers=asked)
        with urllib.request.urlopen(request, timeout=_WAIT_S) as answer:
            content: bytes = answer.read(_MAX_JSON if size is None else size)
            return content

    def address(self, name: str) -> str:
        """Return what a library opens."""
        return f"{self.place}/{name}"

    def stac(self) -> dict[str, Any]:
        """Open the item."""
        import pystac

        document: dict[str, Any] = json.loads(self.read(f"{self.item}.json"))
        pystac.Item.from_dict(document)
        return document

    def raster(self, name: str, asset: Mapping[str, Any]) -> None:
        """Read a block of a COG."""
        import rasterio
        from rasterio.windows import Window

        options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_TIMEOUT": "30", "GDAL_PAM_ENABLED": "NO"}
        with rasterio.Env(**options), rasterio.open(self.address(name)) as dataset:
            dataset.read(1, window=Window(0, 0, min(64, dataset.width), min(64, dataset.height)))

    def parquet(self, name: str, asset: Mapping[str, Any]) -> None:
        """Read the first rows of a GeoParquet."""
        import fsspec
        import pyarrow.parquet as pq

        with fsspec.open(self.address(name), "rb") as file, pq.ParquetFile(file) as opened:
            next(opened.iter_batches(16), None)

    def tiles(self, name: str, asset: Mapping[str, Any]) -> None:
        """Read the header of a PMTiles archive."""
        if self.read(name, 127)[:8] != b"PMTiles\x03":
            raise ValueError("it is no PMTiles archive of version 3")

    def picture(self, name: str, asset: Mapping[str, Any]) -> None:
        """Read how a picture begins."""
        if not self.read(name, 16).startswith((b"\x89PNG", b"\xff\xd8\xff", b"RIFF")):
            raise ValueError("it is no picture")

    def json(self, name: str, asset: Mapping[str, Any]) -> None:
        """Read a JSON document."""
        json.loads(self.read(name))

    def anything(self, name: str, asset: Mapping[str, Any]) -> None:
        """Read how an object begins."""
        self.read(name, 16)

    def references(self, name: str, asset: Mapping[str, Any]) -> None:
        """Open a virtual cube, and read the first and last value of its variables."""
        import xarray as xr

        entry = name if name.endswith(".json") else f"{name}/.zmetadata"
        document = json.loads(self.read(entry))
        addresses = {source["address"] for source in document.get("sources", ())}
        addresses |= {chunk[0] for chunk in document.get("refs", {}).values() if isinstance(chunk, list)}
        for address in addresses:
            self._check_address(address)
        options = asset.get("xarray:open_kwargs") or {"engine": "kerchunk", "chunks": {}}
        with xr.open_dataset(self.address(name), decode_times=False, **options) as cube:
            _read_values(cube)

    def zarr(self, name: str, asset: Mapping[str, Any]) -> None:
        """Open a Zarr store, and read the first and last value of its variables."""
        import xarray as xr

        with xr.open_dataset(self.address(name), engine="zarr", chunks={}, decode_times=False) as cube:
            _read_values(cube)

    def icechunk(self, name: str, asset: Mapping[str, Any]) -> None:
        """Open an Icechunk repository, and read the first and last value of its variables."""
        import icechunk
        import xarray as xr

        icechunk.set_logs_filter("error")
        address = self.address(name)
        storage = icechunk.http_storage(address) if self.is_web else icechunk.local_filesystem_storage(address)
        config = icechunk.Repository.fetch_config(storage)
        prefixes = list((config and config.virtual_chunk_containers) or {})
        access: Any = {}
        for prefix in prefixes:
            self._check_address(prefix)
            is_web = prefix.startswith(("http://", "https://"))
            access[prefix] = (
                icechunk.Credentials.HttpAccess() if is_web else icechunk.Credentials.LocalFileSystemAccess()
            )
        leave = icechunk.containers_credentials(access)
        repository = icechunk.Repository.open(storage, authorize_virtual_chunk_access=leave)
        store: Any = repository.readonly_session("main").store
        with xr.open_dataset(store, engine="zarr", consolidated=False, decode_times=False) as cube:
            _read_values(cube)

    def _check_address(self, address: str) -> None:
        plain = unquote(address.removeprefix("file://")) if address.startswith("file://") else address
        if not plain.startswith(f"{self.base}/") or ".." in plain:
            raise ValueError("a reference leads to another place than that of the release")


def _read_values(cube: Any) -> None:
    for name in list(cube.variables)[:_VARIABLES_READ]:
        variable = cube.variables[name]
        if 0 not in variable.shape:
            for end in (0, -1):
                _ = variable[tuple(end for _ in variable.dims)].values


def _opener(look: _Look, asset: Mapping[str, Any]) -> Callable[[str, Mapping[str, Any]], None]:
    """Return what opens an asset, by its media type and roles."""
    kind, roles = str(asset.get("type", "")).partition(";")[0].strip(), asset.get("roles") or ()
    if "references" in roles and kind in ("application/json", "application/vnd.apache.parquet"):
        return look.references
    openers = {
        "image/tiff": look.raster,
        "application/vnd.apache.parquet": look.parquet,
        "application/vnd.pmtiles": look.tiles,
        "application/vnd.zarr+icechunk": look.icechunk,
        "application/vnd.zarr": look.zarr,
        "image/png": look.picture,
        "image/jpeg": look.picture,
        "application/json": look.json,
        "application/geo+json": look.json,
    }
    return openers.get(kind, look.anything)


def findings(look: _Look, *, can_follow: bool) -> Findings:
    """Open everything of a release and return what is wrong.

    Args:
        look: The release.
        can_follow: Whether the addresses in references answer.
    """
    found: Findings = []
    try:
        document = look.stac()
    except Exception as error:  # noqa: BLE001  the edge of this process: its parent is told
        return [_finding("error", f"{look.item}.json", error)]
    for asset in document["assets"].values():
        name, opener = str(asset["href"]).removeprefix("./"), _opener(look, asset)
        if opener in (look.references, look.icechunk) and not can_follow:
            found.append({"severity": "warning", "code": "not_followed", "subject": name, "why": ""})
            continue
        try:
            opener(name, asset)
        except Exception as error:  # noqa: BLE001  whatever a library raises is what a stranger would meet
            found.append(_finding("error", name, error))
    return found


def _finding(severity: str, subject: str, error: Exception) -> dict[str, str]:
    # What libraries say may hold addresses; their kind is enough to go on with.
    why = str(error) if isinstance(error, ValueError) and "/" not in str(error) else type(error).__name__
    return {"severity": severity, "code": "not_readable", "subject": subject, "why": why[:200]}


def main() -> None:
    """Answer one question."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    question = json.load(sys.stdin)
    allowed = allowed_folders(question["outside"])
    is_bound = lock_in(allowed)
    refuse_inside(question["inside"], allowed)
    place, base = question["place"], question["base"]
    look = _Look(place, base, question["item"])
    found = findings(look, can_follow=question["can_follow"])
    json.dump({"bound": is_bound, "findings": found}, answers)
    answers.flush()


if __name__ == "__main__":
    main()
