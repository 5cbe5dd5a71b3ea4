"""What a server process is for."""

from enum import StrEnum


class ServerRole(StrEnum):
    """Which routes a server has, and how it opens the database."""

    ALL = "all"  # pages and API
    READER = "reader"  # pages and the reading API: no writing route is registered, the database is opened read-only
    ETL = "etl"  # the API with its writing routes, no pages

    @property
    def writes(self) -> bool:
        """Whether writing routes are registered."""
        return self is not ServerRole.READER

    @property
    def has_pages(self) -> bool:
        """Whether the dashboard and the login page are served."""
        return self is not ServerRole.ETL
