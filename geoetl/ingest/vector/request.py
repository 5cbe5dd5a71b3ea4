"""What `ingest-vector` is asked for."""

from enum import StrEnum

from pydantic import Field, field_validator, model_validator

from geoetl.core.errors import InvalidParameter
from geoetl.ingest.request import FileRequest
from geoetl.store.gate import PlaceColumns, VectorQuestion


class Mode(StrEnum):
    """What becomes of the features that an item already has."""

    REPLACE = "replace"
    APPEND = "append"


class VectorRequest(FileRequest):
    """What `ingest-vector` is asked for.

    Attributes:
        layer: Layer of a file that has several; of an archive with several datasets, the name of one.
        crs: CRS of a file that does not say it ("EPSG:4326").
        lat_name, lon_name: Columns of a CSV with latitude and longitude, or with y and x of `crs`.
        wkt_column: Column of a CSV with well-known text.
        mode: Whether the features take the place of those that the item has, or are added to them.
        simplify_tolerance: Detail that is left out of lines and outlines, degrees; 0 keeps all.
        preserve_topology: Whether simplified areas keep their rings, and stay valid.
        snap_to_grid: Step that coordinates are rounded to, degrees; 0 keeps them.
        temporal_property: Column with the time of each feature, or two as "begin/end"; the item's time is what they
            span. Empty takes `valid_at`.
        valid_at: What time the features describe (ISO 8601); empty takes the time of ingest.
        description: What the features are.
        attribution: Whom to name beside a map of them.
        license: SPDX identifier, or "other".
        keywords: Words to find them by.
    """

    layer: str = ""
    crs: str = ""
    lat_name: str = ""
    lon_name: str = ""
    wkt_column: str = ""
    mode: Mode = Mode.REPLACE
    simplify_tolerance: float = Field(0.0, ge=0, lt=90, allow_inf_nan=False)
    preserve_topology: bool = True
    snap_to_grid: float = Field(0.0, ge=0, lt=90, allow_inf_nan=False)
    temporal_property: str = ""
    valid_at: str = ""
    description: str = ""
    attribution: str = ""
    license: str = Field("", pattern=r"^[A-Za-z0-9.+-]*$", max_length=100)
    keywords: tuple[str, ...] = ()

    @field_validator("temporal_property")
    @classmethod
    def _names_one_or_two(cls, value: str) -> str:
        if value.count("/") > 1 or (value and not all(value.split("/"))):
            raise InvalidParameter(
                f"'{value[:60]}' names neither a column nor two.",
                hint="Give COLUMN, or BEGIN/END.",
                field="temporal_property",
            )
        return value

    @model_validator(mode="after")
    def _has_one_time(self) -> "VectorRequest":
        if self.temporal_property and self.valid_at:
            raise InvalidParameter(
                "The time of the features is either in a column or the same for all.",
                hint="Give temporal_property or valid_at.",
                field="valid_at",
            )
        return self

    @property
    def question(self) -> VectorQuestion:
        """What it says about how the file is read."""
        places = PlaceColumns(self.lat_name, self.lon_name, self.wkt_column)
        return VectorQuestion(self.layer or None, self.crs or None, places)
