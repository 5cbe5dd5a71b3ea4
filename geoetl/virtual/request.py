"""The typed request of `virtualise-cmip6`."""

from typing import Literal

from pydantic import Field, field_validator

from geoetl.core.identifiers import check_id
from geoetl.core.request import Request
from geoetl.virtual.convert import Chunking
from geoetl.virtual.write import CubeFormat


class CubeRequest(Request):
    """What `virtualise-cmip6` is asked for.

    Attributes:
        source: ``samples:NAME``, a folder or file under an allowed root, or ``s3://…`` of a prefix or object under one.
        collection: Id of the STAC collection.
        naming: ``cmip6`` or ``nex-gddp`` group files by their names, ``file`` takes each file as a cube; a template
            such as ``{variable_id}_{source_id}_{start}-{end}.nc`` describes other names.
        select: Facets to keep, each with the values allowed.
        join: ``variable`` and ``member`` make one cube of those that differ in nothing else.
        format: How the cube is written; ``zarr`` converts it.
        when_refused: What becomes of a cube that references cannot express: ``leave-out`` with the reason, ``split``
            into a cube for each group of files that agree, or ``convert``.
        chunking: What the chunks of a converted cube are good for.
        checksums: ``sampled`` or ``whole`` bytes of the sources.
        title: Title of the item; only where the source makes one cube. Empty takes it from the names.
    """

    source: str
    collection: str
    naming: str = "cmip6"
    select: dict[str, list[str]] = Field(default_factory=dict)
    join: list[Literal["variable", "member"]] = Field(default_factory=list)
    format: CubeFormat = CubeFormat.AUTO
    when_refused: Literal["leave-out", "split", "convert"] = "leave-out"
    chunking: Chunking = Chunking.MAPS
    checksums: Literal["sampled", "whole"] = "sampled"
    title: str = ""

    @field_validator("collection")
    @classmethod
    def _safe_collection(cls, value: str) -> str:
        return check_id(value, "collection")
