"""A frozen table of plug-ins; an unknown name is answered with the names that exist."""

import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoints, entry_points
from typing import Self

from geoetl.core.errors import ConfigurationError, NotFound, did_you_mean


class Registry[T](Mapping[str, T]):
    """Map names to plug-ins of one kind; it never changes after it is made.

    Args:
        kind: What the entries are, in the singular, for error messages ("opener").
        entries: The plug-ins by name.
    """

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        self._kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        """Return the plug-in of that name.

        Raises:
            NotFound: There is none; the hint names the nearest or all.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise NotFound(f"There is no {self._kind} '{name}'.", hint=did_you_mean(name, self._entries)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Registry({self._kind}: {', '.join(self._entries)})"

    def with_entry_points(self, group: str) -> Self:
        """Return a registry that also holds what installed packages offer under the entry-point `group`.

        Raises:
            ConfigurationError: A package offers a name that is taken.
        """
        entries = dict(self._entries)
        for point in _offered(tuple(sys.path)).select(group=group):
            if point.name in entries:
                raise ConfigurationError(
                    f"Two packages offer the {self._kind} '{point.name}'.",
                    hint=f"Uninstall one of them, or rename the entry point in '{group}'.",
                )
            entries[point.name] = point.load()
        return type(self)(self._kind, entries)


@lru_cache(maxsize=1)
def _offered(path: tuple[str, ...]) -> EntryPoints:
    """Return all that installed packages offer; each registry would read the files of some hundred of them again.

    Args:
        path: Where they are looked for: ``sys.path``.
    """
    return entry_points()
