"""Datasets that files declare: one YAML file for each, in ``catalogs/managed`` or where `GEOETL_MANAGED` says."""

from pathlib import Path

from geoetl.core.errors import ConfigurationError, GeoetlError, InvalidParameter, NotFound
from geoetl.datasets.model import Definition

_PACKAGE = Path(__file__).resolve().parents[1]
_SETTING = "GEOETL_MANAGED"
# A definition has some hundreds.
MAX_CHARACTERS = 200_000


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
    return tuple(_declared(path) for path in sorted(chosen.glob("*.yaml")))


def read_definition(path: Path) -> Definition:
    """Return what one file declares.

    Raises:
        NotFound: It cannot be read.
        InvalidParameter: It is malformed, or what it says is not right.
    """
    import yaml

    try:
        text = path.read_text("utf-8")
        if len(text) > MAX_CHARACTERS or any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise InvalidParameter(
                f"'{path.name}' has aliases, or more than {MAX_CHARACTERS:,} characters.",
                hint="Say what a dataset is in plain lines; a few aliases can stand for gigabytes.",
                field="file",
            )
        document = yaml.safe_load(text)
    except OSError as error:
        raise NotFound(f"'{path.name}' cannot be read: {error.strerror}.", field="file") from None
    except RecursionError:
        raise InvalidParameter(f"'{path.name}' is nested too deeply.", field="file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise InvalidParameter(f"'{path.name}' is not YAML{where}.", field="file") from None
    if not isinstance(document, dict) or not all(isinstance(name, str) for name in document):
        raise InvalidParameter(
            f"'{path.name}' does not say what a dataset is.",
            hint="It has one 'name: value' in a line; catalogs/managed has examples.",
            field="file",
        )
    try:
        return Definition(**{"dataset_id": path.stem, **document})
    except InvalidParameter as error:
        raise InvalidParameter(f"In '{path.name}': {error.detail}", hint=error.hint, field=error.field) from None


def _declared(path: Path) -> Definition:
    try:
        definition = read_definition(path)
        if definition.dataset_id != path.stem:
            raise InvalidParameter(
                f"'{path.name}' declares '{definition.dataset_id}'.",
                hint=f"Leave dataset_id out, or name the file {definition.dataset_id}.yaml.",
            )
        return definition
    except GeoetlError as error:
        raise ConfigurationError(error.detail, hint=error.hint, field=_SETTING) from None


def _shipped() -> Path:
    for folder in (_PACKAGE / "_catalogs" / "managed", _PACKAGE.parent / "catalogs" / "managed"):
        if folder.is_dir():
            return folder
    raise ConfigurationError("The declarations of managed datasets did not come along.", hint="Install geoetl again.")
