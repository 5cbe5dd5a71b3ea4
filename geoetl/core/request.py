"""What a pipeline is asked for: typed at once, wrong values told in one sentence."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from geoetl.core.errors import GeoetlError, InvalidParameter


class Request(BaseModel):
    """Base of the typed requests of pipelines.

    Raises:
        InvalidParameter: A value does not fit; the message names the field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            cause = first.get("ctx", {}).get("error")
            if isinstance(cause, GeoetlError):
                raise cause from None
            name = ".".join(str(part) for part in first["loc"]) or "request"
            raise InvalidParameter(
                f"The parameter '{name}' is not right: {first['msg'].removeprefix('Value error, ')}.",
                field=name,
            ) from None
