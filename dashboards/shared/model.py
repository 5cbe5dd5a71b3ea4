"""What the models of pages have in common: commands that say what they do, and what went wrong in them."""

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import param

from dashboards.shared.problem import Problem
from geoetl.core.principal import Forbidden, Role

if TYPE_CHECKING:
    from geoetl.core.principal import Principal
    from geoetl.platform import Platform


class PageModel(param.Parameterized):
    """Base of the models of pages on which something is done; their parameters are changed by commands alone.

    Args:
        platform: Everything that is asked.
        principal: Who looks.
    """

    #: What the page shows, in the plural, for whoever may only look at it.
    shows: ClassVar[str]

    busy = param.String(default="", doc="What is being done; empty when nothing is.")
    said = param.String(default="", doc="What was done last.")
    problem = param.ClassSelector(class_=Problem, default=None, allow_None=True, doc="What went wrong last.")
    away = param.ClassSelector(class_=Problem, default=None, allow_None=True, doc="Why nothing can be seen now.")

    def __init__(self, platform: "Platform", principal: "Principal", **params: Any) -> None:
        self.platform = platform
        self.principal = principal
        self._under_way: list[str] = []
        self._changing = threading.RLock()
        super().__init__(**params)  # type: ignore[no-untyped-call]  # param 2.4 leaves it unannotated

    def dismiss(self) -> None:
        """Take the note of what went wrong, or was done, away."""
        self._set(problem=None, said="")

    def _may(self, needed: Role) -> bool:
        return self.principal.may(needed) and not self.platform.database.read_only

    def _check(self, needed: Role, what: str) -> None:
        """Refuse who may not, each time that something is to be changed.

        Who a page belongs to is looked up again by the guard with every message of the browser.

        Raises:
            Forbidden: The role is not enough, or this server only reads.
        """
        if self.platform.database.read_only:
            raise Forbidden(
                "This server only reads.", hint="Do it on a server of the role `all`, or with the command line."
            )
        if not self.principal.may(needed):
            raise Forbidden(
                f"{self.principal.name} may look at {self.shows}, and not {what}: that takes the role {needed}.",
                hint="Ask an operator of this server for it.",
            )

    def _set(self, **values: Any) -> None:
        """Change parameters; whoever watches is told while nobody else changes any."""
        with self._changing:
            self.param.update(**values)

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Say what is being done; what goes wrong becomes a `Problem` that a person can read."""
        with self._changing:
            self._under_way.append(what)
            self._set(busy=what)
        try:
            yield
        except Exception as error:
            self._set(problem=Problem.of(error, what), said="")
        finally:
            with self._changing:
                self._under_way.remove(what)
                self._set(busy=self._under_way[-1] if self._under_way else "")


class Feed(Protocol):
    """Looks for what happens, for every page of this process."""

    def follow(self, told: Callable[[], None]) -> None:
        """Tell from now on that something happened."""
        ...

    def leave(self, told: Callable[[], None]) -> None:
        """Tell no more."""
        ...

    def look(self) -> object:
        """Look now."""
        ...


class FollowingModel(PageModel, param.ParameterizedABC):
    """Base of the models of pages that show what happens by itself, once `follow` was called.

    Args:
        platform: Everything that is asked.
        feed: Looks for what happens.
        principal: Who looks.
    """

    def __init__(self, platform: "Platform", feed: Feed, principal: "Principal", **params: Any) -> None:
        self._following = feed
        self._looking = threading.RLock()
        super().__init__(platform, principal, **params)

    def load(self) -> None:
        """Look up what there is."""
        self._see()

    def follow(self) -> None:
        """Have everything that happens shown as it happens."""
        self._following.follow(self.refresh)
        self._see()

    def leave(self) -> None:
        """Follow no more."""
        self._following.leave(self.refresh)

    def refresh(self) -> None:
        """Show how things stand."""
        with self._looking:
            try:
                self._look()
            except Exception as error:
                # Called by the thread that serves every page, which must not end with what fails for one.
                self._set(away=Problem.of(error, f"looking at the {self.shows}"))

    @abstractmethod
    def go(self, query: str) -> None:
        """Bring about the state of an address's query."""

    @abstractmethod
    def _look(self) -> None:
        """Show how things stand; called by `refresh`, once at a time."""

    def _see(self) -> None:
        """Show at once what this page has brought about, or missed."""
        self._following.look()
        self.refresh()


type Start = Callable[[Callable[[], None]], None]
"""Does some work, now or in another thread."""


def at_once(work: Callable[[], None]) -> None:
    """Do the work now, in the thread that asks for it."""
    work()
