"""Datasets that files declare: one YAML file for each, in ``catalogs/managed`` or where `GEOETL_MANAGED` says."""

from pathlib import Path

from pydantic import ValidationError

from geoetl.core.errors import ConfigurationError, GeoetlError
from geoetl.datasets.model import Definition

_PACKAGE = Path(__file__).resolve().parents[1]
_SETTING = "GEOETL_MANAGED"


def read_definitions(folder: Path | None = None) -> tuple[Definition, ...]:
    """Return what the files of a folder declare, by id; without a folder, those that come along.

    The id of a dataset is the name of its file.

    Raises:
        ConfigurationError: The folder or a file is missing or malformed.
    """
    chosen = folder or _shipped()
    if not chosen.is_dir():
        raise ConfigurationError(
            "The folder of managed datasets is not there.", hint=f"Check {_SETTING}.", field=_SETTING
        )
    return tuple(_read(path) for path in sorted(chosen.glob("*.yaml")))


def _read(path: Path) -> Definition:
    import yaml

    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"'{path.name}' cannot be read: {error.strerror}.", field=_SETTING) from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise ConfigurationError(f"'{path.name}' is not YAML{where}.", field=_SETTING) from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"'{path.name}' does not say what a dataset is.", field=_SETTING)
    try:
        return Definition(**{"dataset_id": path.stem, **document})
    except (GeoetlError, ValidationError) as error:
        detail = error.detail if isinstance(error, GeoetlError) else str(error)
        hint = error.hint if isinstance(error, GeoetlError) else None
        raise ConfigurationError(f"In '{path.name}': {detail}", hint=hint, field=_SETTING) from None


def _shipped() -> Path:
    for folder in (_PACKAGE / "_catalogs" / "managed", _PACKAGE.parent / "catalogs" / "managed"):
        if folder.is_dir():
            return folder
    raise ConfigurationError("The declarations of managed datasets did not come along.", hint="Install geoetl again.")
