"""The schema's history, run by Alembic from within the package; each revision works on SQLite and PostgreSQL."""

import threading
from pathlib import Path

from sqlalchemy.engine import Connection

from geoetl.core.errors import ConfigurationError

# The newest revision under versions/; known without importing Alembic, so that a start with a current schema is quick.
HEAD = "0011"
# Alembic keeps what it works on in the module `alembic.context`: one upgrade at a time in a process.
_ONE_AT_A_TIME = threading.Lock()


def upgrade(connection: Connection) -> None:
    """Run every revision that the database lacks, within the caller's transaction.

    Raises:
        ConfigurationError: The database is at a revision that this version does not know.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        with _ONE_AT_A_TIME:
            command.upgrade(config, "head")
    except CommandError:
        raise ConfigurationError(
            "The database was written by a newer version of geoetl.",
            hint="Upgrade geoetl, or point GEOETL_DATABASE__URL or GEOETL_HOME elsewhere.",
        ) from None
