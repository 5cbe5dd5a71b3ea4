"""What styles need of the zones, such as symbols that are pictures, for those who clean up."""

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from geoetl.store.addresses import addresses_in
from geoetl.store.database import Database
from geoetl.store.zones import Zones
from geoetl.styles.repository import styles, versions


@dataclass(frozen=True)
class StyleNeed:
    """What styles and their versions need.

    Args:
        zones: Where the objects are.
    """

    zones: Zones

    name = "a style"

    def addresses(self, database: Database) -> Iterator[str]:
        """Return the addresses in styles and in all of their versions."""
        with database.read() as connection:
            for column in (styles.c.style_spec, versions.c.style_spec):
                for document in connection.execute(sa.select(column)).scalars():
                    yield from addresses_in(document, self.zones)

    def mark(self, database: Database) -> tuple[int, int]:
        """Return how many styles and versions there are, and how often they were changed."""
        changes = sa.select(sa.func.coalesce(sa.func.sum(styles.c.revision), 0))
        with database.read() as connection:
            counted = connection.execute(sa.select(sa.func.count()).select_from(versions)).scalar_one()
            return int(counted), int(connection.execute(changes).scalar_one())

    def alone(self, connection: Connection) -> None:
        """Let nobody change a style."""
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("lock table feature_collection_styles in share row exclusive mode")
