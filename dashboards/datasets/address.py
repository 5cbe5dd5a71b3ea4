"""The state of the page as the query of its address, so that a link opens the same view."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlencode

from geoetl.core.errors import InputError

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_DIGITS = 9


@dataclass(frozen=True)
class Address:
    """Everything that a link carries; empty parts are left out of it.

    Attributes:
        dataset: Id of the dataset that is open.
        version: Number of the version whose changes are shown; 0 for none.
    """

    dataset: str = ""
    version: int = 0

    @classmethod
    def parse(cls, query: str) -> Self:
        """Read the query of an address, with or without its question mark; unknown names are passed over.

        Raises:
            InputError: An id or a number is not right.
        """
        one = dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True))
        dataset, version = one.get("dataset", ""), one.get("version", "")
        if dataset and not _ID.fullmatch(dataset):
            raise InputError(
                f"'{dataset[:40]}' is no id of a dataset.", hint="Choose one in the list.", field="dataset"
            )
        if version and not (version.isascii() and version.isdigit() and len(version) <= _MAX_DIGITS):
            raise InputError(
                f"'{version[:40]}' is no number of a version.", hint="Choose one of its versions.", field="version"
            )
        return cls(dataset, int(version or 0) if dataset else 0)

    def query(self) -> str:
        """Return the query with its question mark; empty where there is nothing to say."""
        if not self.dataset:
            return ""
        pairs = [("dataset", self.dataset), ("version", str(self.version))][: 2 if self.version else 1]
        return f"?{urlencode(pairs)}"
