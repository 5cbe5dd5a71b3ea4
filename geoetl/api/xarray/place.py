"""The region that a question is about: a box, a named boundary, or GeoJSON."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Body, Query

from geoetl.access.region import Region
from geoetl.core.errors import InvalidParameter
from geoetl.core.spatial import BBox

if TYPE_CHECKING:
    from geoetl.platform import Platform

_TRIANGLE = {"type": "Polygon", "coordinates": [[[-110, 30], [-90, 30], [-100, 45], [-110, 30]]]}

Document = Annotated[
    dict[str, Any],
    Body(description="GeoJSON: a Polygon, a MultiPolygon, or a Feature of one", examples=[_TRIANGLE]),
]


@dataclass(frozen=True)
class Place:
    """A region as it is named in an address.

    Attributes:
        bbox: A box.
        boundary_type: country, state or county.
        boundary_id: An ISO code or a name.
    """

    bbox: str | None
    boundary_type: str | None
    boundary_id: str | None

    def region(self, platform: "Platform") -> BBox | Region:
        """Return the region.

        Raises:
            InvalidParameter: Both a box and a boundary are given, or neither, or half a boundary.
            InvalidBBox: The box is malformed.
            NotFound: There is no such boundary.
        """
        if self.bbox is not None and (self.boundary_type or self.boundary_id):
            raise InvalidParameter("bbox and a boundary are both given.", hint="Give one of them.", field="bbox")
        if self.bbox is not None:
            return BBox.parse(self.bbox)
        if self.boundary_type is None and self.boundary_id is None:
            raise InvalidParameter(
                "No region is given.",
                hint="Give bbox=west,south,east,north, or boundary_type and boundary_id.",
                field="bbox",
            )
        for name in ("boundary_type", "boundary_id"):
            if getattr(self, name) is None:
                raise InvalidParameter(
                    f"{name} is missing.", hint="For example boundary_type=country&boundary_id=FRA.", field=name
                )
        return platform.boundaries.find(str(self.boundary_type), str(self.boundary_id))


def place_of(
    bbox: Annotated[
        str | None, Query(description="west,south,east,north in degrees; west > east crosses longitude 180")
    ] = None,
    boundary_type: Annotated[str | None, Query(description="Instead of bbox: country, state or county")] = None,
    boundary_id: Annotated[str | None, Query(description="An ISO code or a name: FRA, France")] = None,
) -> Place:
    """Return the region that an address names."""
    return Place(bbox, boundary_type, boundary_id)
