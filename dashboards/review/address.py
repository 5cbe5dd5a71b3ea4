"""The state of the page as the query of its address, so that a link opens the same view."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlencode

from dashboards.review.standing import Group
from geoetl.core.errors import InputError, did_you_mean

# The parts of what is open, as their tabs are called in an address.
TABS = ("map", "changes", "files", "checks", "about", "history")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Address:
    """Everything that a link carries; what is as usual is left out of it.

    Attributes:
        release: Id of the release that is open.
        tab: Part of it that is seen.
        show: Which releases are listed.
    """

    release: str = ""
    tab: str = TABS[0]
    show: Group = Group.WAITING

    @classmethod
    def parse(cls, query: str) -> Self:
        """Read the query of an address, with or without its question mark; unknown names are passed over.

        Raises:
            InputError: An id or a name is not right.
        """
        one = dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True))
        release, tab, show = one.get("release", ""), one.get("tab") or TABS[0], one.get("show") or Group.WAITING
        if release and not _ID.fullmatch(release):
            raise InputError(
                f"'{release[:40]}' is no id of a release.", hint="Choose one in the list.", field="release"
            )
        if tab not in TABS:
            raise InputError(f"There is no part '{tab[:40]}'.", hint=did_you_mean(tab, TABS), field="tab")
        if show not in list(Group):
            raise InputError(f"There are no releases '{show[:40]}'.", hint=did_you_mean(show, Group), field="show")
        return cls(release, tab if release else TABS[0], Group(show))

    def query(self) -> str:
        """Return the query with its question mark; empty where there is nothing to say."""
        pairs = [("show", str(self.show))] if self.show is not Group.WAITING else []
        if self.release:
            pairs.append(("release", self.release))
            pairs += [("tab", self.tab)] if self.tab != TABS[0] else []
        return f"?{urlencode(pairs)}" if pairs else ""
