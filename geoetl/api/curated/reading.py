"""What there is to read: datasets, their updates, their versions, and what a version changed."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from geoetl.access.features.page import geojson_shapes
from geoetl.api.answers import StrictJSON
from geoetl.api.curated.answers import (
    DATASETS,
    ONE,
    DatasetAnswer,
    DatasetId,
    DatasetsAnswer,
    HistoryAnswer,
    VersionDetail,
    VersionNumber,
    VersionsAnswer,
    dataset_answer,
    record_answer,
    version_answer,
    version_detail,
)
from geoetl.api.etag import tagged
from geoetl.datasets.defining import etag_of
from geoetl.datasets.overview import overview, overviews
from geoetl.datasets.repository import MAX_HISTORY

if TYPE_CHECKING:
    import geopandas as gpd

    from geoetl.platform import Platform

GEOJSON = "application/geo+json"
# As many as a version lists.
MAX_CHANGES = 10_000


def add(routes: APIRouter, platform: "Platform") -> None:
    """Add the routes that read."""

    @routes.get(DATASETS)
    def managed_datasets(
        enabled_only: Annotated[bool, Query(description="Only those whose source is asked by itself")] = False,
    ) -> DatasetsAnswer:
        """Return the managed datasets: what is served, when the source is asked next, what waits for a person."""
        found = overviews(platform.datasets.repository, enabled_only=enabled_only)
        return DatasetsAnswer(datasets=[dataset_answer(one) for one in found])

    @routes.get(ONE)
    def managed_dataset(dataset_id: DatasetId, response: Response) -> DatasetAnswer:
        """Return a managed dataset; its ETag is that of what is said of it, for a change with If-Match."""
        one = overview(platform.datasets.repository, dataset_id)
        response.headers.update(tagged(etag_of(one.dataset)))
        return dataset_answer(one)

    @routes.get(f"{ONE}/history")
    def history(
        dataset_id: DatasetId,
        limit: Annotated[int, Query(ge=1, le=MAX_HISTORY, description="At most so many")] = 50,
    ) -> HistoryAnswer:
        """Return the latest updates of a dataset, the newest first, with why they failed, were held or skipped."""
        found = platform.datasets.repository.history(dataset_id, limit=limit)
        return HistoryAnswer(updates=[record_answer(one) for one in found])

    @routes.get(f"{ONE}/versions")
    def versions(dataset_id: DatasetId) -> VersionsAnswer:
        """Return the versions of a dataset, the newest first: what is served, held, or can be gone back to."""
        repository = platform.datasets.repository
        repository.get(dataset_id)
        return VersionsAnswer(versions=[version_answer(one) for one in repository.versions(dataset_id)])

    @routes.get(f"{ONE}/versions/{{number}}")
    def version(dataset_id: DatasetId, number: VersionNumber) -> VersionDetail:
        """Return a version: what its items are like, what was noticed, what differs from the one before."""
        return version_detail(platform.datasets.repository.version(dataset_id, number))

    @routes.get(
        f"{ONE}/versions/{{number}}/changes",
        response_class=Response,
        responses={200: {"content": {GEOJSON: {"schema": {"type": "object"}}}}},
    )
    def changes(
        dataset_id: DatasetId,
        number: VersionNumber,
        change: Annotated[
            Literal["added", "updated", "deleted"] | None, Query(description="Only features that differ so")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_CHANGES, description="At most so many")] = 1000,
    ) -> Response:
        """Return the features that a version changed (GeoJSON), each with the columns that differ.

        The first version is compared with nothing, and of one that was rejected or removed no features are kept: there
        are none then, and ``counts`` tells how many there were.
        """
        counts = platform.datasets.repository.version(dataset_id, number).changes
        found = platform.datasets.changed(dataset_id, number)
        features = [] if found is None else _features(found, change, limit)
        document = {
            "type": "FeatureCollection",
            "features": features,
            "numberReturned": len(features),
            "numberMatched": getattr(counts, change) if change else counts.added + counts.updated + counts.deleted,
            "counts": {"added": counts.added, "updated": counts.updated, "deleted": counts.deleted},
        }
        return StrictJSON(document, media_type=GEOJSON)


def _features(changed: "gpd.GeoDataFrame", change: str | None, limit: int) -> list[dict[str, Any]]:
    chosen = (changed if change is None else changed[changed["change"] == change]).head(limit)
    rows = chosen[["change", "item", "key", "columns"]].to_dict("records")
    shapes = geojson_shapes(chosen.geometry.to_numpy())
    return [
        {
            "type": "Feature",
            "id": f"{row['item']}/{row['key']}",
            "geometry": shape,
            "properties": {**row, "columns": row["columns"].split(", ") if row["columns"] else []},
        }
        for row, shape in zip(rows, shapes, strict=True)
    ]
