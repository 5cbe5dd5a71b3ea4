"""Say in a sentence that a source was lost, changed or damaged since the catalogue came to know it."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from geoetl.access.items import AssetKind, FoundAsset
from geoetl.core.errors import UnreadableFile


@contextmanager
def readable(found: FoundAsset) -> Iterator[None]:
    """Tell of a source that was lost, changed or damaged since the cube was made, whatever its kind calls that."""
    try:
        yield
    except UnreadableFile as error:
        raise _lost(found, error.detail.rstrip(".")) from None
    except _errors_of(found.kind) as error:
        raise _lost(found, str(error).splitlines()[0][:200] if str(error) else type(error).__name__) from None


def _errors_of(kind: AssetKind) -> tuple[type[Exception], ...]:
    common = (OSError, RuntimeError, ValueError, zlib.error)
    if kind is not AssetKind.ICECHUNK:
        return common
    import icechunk

    return (icechunk.IcechunkError, *common)


def _lost(found: FoundAsset, reason: str) -> UnreadableFile:
    return UnreadableFile(
        f"The values of {found.source} (asset '{found.name}') cannot be read: {reason}.",
        hint="A source file is gone, moved, changed or damaged; make the item again from its sources.",
    )


@contextmanager
def readable_raster(found: FoundAsset) -> Iterator[None]:
    """Tell of a raster whose pixels are damaged."""
    from rasterio.errors import RasterioIOError

    try:
        yield
    except RasterioIOError:
        raise UnreadableFile(
            f"The pixels of {found.source} (asset '{found.name}') cannot be read: the file is damaged.",
            hint="Ingest it again from its source.",
        ) from None
