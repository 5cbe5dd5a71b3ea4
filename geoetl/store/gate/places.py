"""Where files may lie: names become places inside the allowed roots, or are refused."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from geoetl.core.errors import NotFound, OutsideAllowedRoots, UnreadableFile, did_you_mean
from geoetl.store.remote import RemoteRoot, SourcePath, Stamp, is_remote, stamp_of, together
from geoetl.store.samples import sample_path

SAMPLE_SCHEME = "samples:"
# Where programs keep secrets; a working folder that is an allowed root may hold them.
_SECRET_NAMES = frozenset({".git", ".ssh", ".aws", ".azure", ".gnupg", ".netrc", ".pgpass", ".pypirc"})


@dataclass(frozen=True)
class Places:
    """Tells where a name leads, and whether that may be read.

    Args:
        roots: Folders that sources may lie in.
        remote: Places in object stores that they may.
        private: Files that may not be read, and folders whose own files may not: databases, secrets, settings.
    """

    roots: tuple[Path, ...]
    remote: tuple[RemoteRoot, ...] = ()
    private: tuple[Path, ...] = ()

    def resolve(self, source: str, *, field: str = "source") -> Path:
        """See `Gate.resolve`."""
        if source.startswith(SAMPLE_SCHEME):
            return sample_path(source.removeprefix(SAMPLE_SCHEME))
        path = self.check_local(source, field)
        try:
            is_there = path.exists()
        except OSError:
            is_there = False  # a name that no file can have
        if not is_there:
            near = did_you_mean(path.name, (p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ""
            raise NotFound(
                f"There is no file '{path.name}' in its folder.",
                hint=near
                if near.startswith("Did")
                else "Check the spelling; relative paths start at the working folder.",
                field=field,
            )
        return path

    def check_local(self, source: str, field: str) -> Path:
        """Return the path that a name leads to, whether something is there or not; symbolic links are followed first.

        Raises:
            OutsideAllowedRoots: It is another kind of address or leads elsewhere.
        """
        text = source
        if source.startswith("file://"):
            parts = urlsplit(source)
            text = unquote(parts.path) if parts.netloc in ("", "localhost") else ""
        if not text or "\0" in text or "\n" in text or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:|/+vsi|[<{\\]", text):
            raise OutsideAllowedRoots(
                f"'{source[:80]}' is not a local path.",
                hint="Give the path of a local file, or samples:NAME.",
                field=field,
            )
        try:
            path = Path(text).expanduser().resolve()
        except (OSError, RuntimeError):  # links in a circle, or no such user
            raise OutsideAllowedRoots(
                f"'{Path(text).name[:80]}' leads nowhere.",
                hint="Give the path of a file itself instead of that of a link.",
                field=field,
            ) from None
        if not self.allows(path):
            raise OutsideAllowedRoots(
                f"'{Path(text).name}' lies outside the folders that may be read.",
                hint="Move it below the working folder, or add its folder to GEOETL_ALLOWED_ROOTS (a JSON list).",
                field=field,
            )
        return path

    def locate(self, source: str, *, field: str = "source") -> SourcePath:
        """Return where a source of virtual cubes lies: as `resolve`, or what is at a URL below a remote root.

        Raises:
            OutsideAllowedRoots: It lies below no root.
            NotFound: There is nothing.
            ConfigurationError, Unavailable: Its object store cannot be asked.
        """
        if not is_remote(source):
            return self.resolve(source, field=field)
        address = source.rstrip("/")
        for root in self.remote:
            key = root.key(address)
            if key is not None:
                return root.find(key)
        raise OutsideAllowedRoots(
            f"'{address[:80]}' lies outside the places in object stores that may be read.",
            hint="Add its bucket or prefix to GEOETL_ALLOWED_ROOTS (a JSON list), for example s3://BUCKET/PREFIX.",
            field=field,
        )

    def locate_all(self, sources: Sequence[str], *, field: str = "source") -> list[SourcePath]:
        """Return where several sources lie; object stores are asked side by side.

        Raises:
            OutsideAllowedRoots, NotFound, ConfigurationError, Unavailable: See `locate`.
        """
        remote = [source for source in sources if is_remote(source)]
        found = dict(zip(remote, together(lambda source: self.locate(source, field=field), remote), strict=True))
        return [found[source] if source in found else self.locate(source, field=field) for source in sources]

    def stamps(self, addresses: Sequence[str]) -> list[Stamp | None]:
        """Return what files at these addresses are like now; None for one that is gone.

        Raises:
            OutsideAllowedRoots: A URL lies below no root.
            ConfigurationError, Unavailable: An object store cannot be asked.
        """

        def look(address: str) -> Stamp | None:
            try:
                found = self.locate(address) if is_remote(address) else Path(address)
                return stamp_of(found) if isinstance(found, Path) else found.stamp
            except (NotFound, OSError):
                return None

        if any(is_remote(address) for address in addresses):
            return together(look, addresses)
        return [look(address) for address in addresses]

    def allows(self, path: Path) -> bool:
        """Tell whether a resolved path lies in an allowed root and is not private."""
        if self.private and self._is_private(path):
            return False
        return any(path == root or path.is_relative_to(root) for root in self.roots)

    def _is_private(self, path: Path) -> bool:
        own = path.parent in self.private and not path.is_dir()
        return own or path in self.private or path.name.startswith(".env") or not _SECRET_NAMES.isdisjoint(path.parts)

    def check_links(self, folder: Path) -> None:
        """Check that no link below a folder leads out of the allowed roots.

        Raises:
            UnreadableFile: There is no such folder.
            OutsideAllowedRoots: One does.
        """
        if not folder.is_dir():
            raise UnreadableFile(
                f"'{folder.name}' is not a folder.", hint="Give the folder of the store.", field="source"
            )
        waiting = [folder]
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink() and not self.allows(Path(entry.path).resolve()):
                        raise OutsideAllowedRoots(
                            f"'{entry.name}' in '{folder.name}' is a link to outside the folders that may be read.",
                            hint="Copy what it leads to beside it.",
                            field="source",
                        )
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif not entry.is_symlink() and not entry.is_file():
                        raise UnreadableFile(
                            f"'{entry.name}' in '{folder.name}' is a pipe or device, no file.",
                            hint="Remove it, or make the store again from its sources.",
                            field="source",
                        )

    def behind(self, targets: Mapping[str, str], subject: str) -> dict[str, SourcePath]:
        """Return the file behind each address; `targets` tells where in `subject` each stands.

        Raises:
            OutsideAllowedRoots: One leads elsewhere.
            NotFound: One is gone.
            ConfigurationError, Unavailable: An object store cannot be asked.
        """

        def find(target: str) -> SourcePath:
            try:
                return self.locate(target, field=f"references of {subject}")
            except (OutsideAllowedRoots, NotFound) as error:
                gone = isinstance(error, NotFound)
                # Where a file lay on this machine is nobody's business who asks over HTTP.
                shown = target.rpartition("/")[2] if gone and not is_remote(target) else target
                raise type(error)(
                    f"The reference '{targets[target]}' of '{subject}' leads to '{shown[:200]}'. {error.detail}",
                    hint="Put the file back, or make the item again from its sources." if gone else error.hint,
                    field=error.field,
                ) from None

        ordered = sorted(targets)
        has_remote = any(is_remote(target) for target in ordered)
        return dict(zip(ordered, together(find, ordered) if has_remote else map(find, ordered), strict=True))
