"""``geoetl db``: the schema of the database."""

from typing import TYPE_CHECKING, Any

import typer

from geoetl.cli.output import Json, err, out, print_json, print_table

if TYPE_CHECKING:
    from geoetl.core.settings import Settings
    from geoetl.store.catalog.move import Copied
    from geoetl.store.schema import SchemaState

app = typer.Typer(help="Look at the database, and bring it to this version.", no_args_is_help=True)

# Where an earlier geoetl kept the catalogue beside PostgreSQL, and what the file is called once it was copied.
OLD_CATALOG, COPIED_CATALOG = "catalog.db", "catalog.db.copied"


@app.command()
def upgrade(as_json: Json = False) -> None:
    """Bring the database to this version: our tables, and pgSTAC on PostgreSQL.

    Run it as the owner of the database in GEOETL_DATABASE__URL; PostGIS and the roles of pgSTAC need a superuser
    the first time. Interrupted, it goes on when it is run again.

    Example: geoetl db upgrade
    """
    from geoetl.core.settings import load_settings
    from geoetl.store import schema
    from geoetl.store.database import Database

    settings = load_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    before = schema.upgrade(database)
    after = schema.state(database)
    database.dispose()
    copied = _copy_old_catalog(settings) if database.dialect == "postgresql" else None
    if as_json:
        answer = {"before": _versions(before), "after": _versions(after)}
        print_json({**answer, "copied": vars(copied) if copied else None})
        return
    _print_versions(before, after)
    if copied:
        out.print(
            f"Copied from {settings.home / COPIED_CATALOG} into pgSTAC: {copied.collections} collections and "
            f"{copied.items} items; {copied.items_present} items were there already."
        )


@app.command()
def status(as_json: Json = False) -> None:
    """Show which schema the database has and which this version needs.

    Example: geoetl db status --json
    """
    from geoetl.core.settings import load_settings
    from geoetl.store import schema
    from geoetl.store.database import Database

    settings = load_settings()
    database = Database(settings.database_url)
    if database.dialect == "sqlite":
        settings.home.mkdir(parents=True, exist_ok=True)
    found = schema.state(database)
    waits = database.dialect == "postgresql" and (settings.home / OLD_CATALOG).is_file()
    if as_json:
        answer: dict[str, Any] = {"kind": database.dialect, "current": found.is_current, **vars(found)}
        print_json({**answer, "catalog_to_copy": waits})
        return
    wanted = _versions_wanted(found)
    rows = [(name, version or "none", wanted[name]) for name, version in _versions(found).items()]
    print_table("Database", ["part", "version", "needed"], rows)
    if not found.is_current or waits:
        out.print("Next: geoetl db upgrade")


def _copy_old_catalog(settings: "Settings") -> "Copied | None":
    old = settings.home / OLD_CATALOG
    if not old.is_file():
        return None
    import geoetl
    from geoetl.store.catalog.move import copy_missing
    from geoetl.store.catalog.sqlite import SqliteCatalog
    from geoetl.store.database import Database

    platform = geoetl.connect(settings.home)
    database = Database(f"sqlite:///{old}")
    database.upgrade()
    with err.status("Copying the catalogue into pgSTAC") as shown:
        copied = copy_missing(
            SqliteCatalog(database, platform.zones),
            platform.catalog,
            lambda items: shown.update(f"Copying the catalogue into pgSTAC: {items} items"),
        )
    database.dispose()
    # Kept as it was, under a name that is not looked for again.
    old.replace(settings.home / COPIED_CATALOG)
    return copied


def _versions(found: "SchemaState") -> dict[str, str | None]:
    ours = {"geoetl": found.revision}
    return ours if found.pgstac_wanted is None else {**ours, "pgSTAC": found.pgstac}


def _versions_wanted(found: "SchemaState") -> dict[str, str | None]:
    return {"geoetl": found.revision_wanted, "pgSTAC": found.pgstac_wanted}


def _print_versions(before: "SchemaState", after: "SchemaState") -> None:
    now = _versions(after)
    rows = [(name, version or "none", now[name]) for name, version in _versions(before).items()]
    print_table("Database", ["part", "before", "now"], rows)
