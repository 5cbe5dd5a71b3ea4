"""``geoetl config``: the settings, and where each comes from."""

import typer

from geoetl.cli.output import Json, print_json, print_table

app = typer.Typer(help="Show the settings and where each comes from.", no_args_is_help=True)


@app.command()
def show(as_json: Json = False) -> None:
    """List every setting with its value, its source and its meaning.

    Example: geoetl config show
    """
    import os

    from dotenv import dotenv_values
    from pydantic import SecretStr

    from geoetl.core.settings import load_settings, meaning, settings_values, variable_name

    settings = load_settings()
    in_file = {name.upper() for name in dotenv_values(".env")}

    def source(variable: str) -> str:
        if os.environ.get(variable):
            return "environment"
        return ".env file" if variable in in_file else "default"

    def shown(value: object) -> object:
        if isinstance(value, SecretStr):
            return "(set, not shown)"
        return [str(part) for part in value] if isinstance(value, tuple) else value

    rows = [
        (variable_name(name), shown(value), source(variable_name(name)), meaning(name))
        for name, value in settings_values(settings)
    ]
    if as_json:
        keys = ("variable", "value", "source", "meaning")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    listed = [(name, "" if value in (None, []) else value, where, what) for name, value, where, what in rows]
    print_table("Settings", ["variable", "value", "source", "meaning"], listed)
