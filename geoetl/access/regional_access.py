"""Questions about regions of cubes, as `CubeAccess` answers them."""

from typing import TYPE_CHECKING

from geoetl.access.aggregate import FieldAggregate, FieldPlan
from geoetl.access.cost import Estimate, QueryLimits
from geoetl.access.regional import RegionalQuestion, Wanted
from geoetl.access.statistics import RegionalPlan, RegionalSeries
from geoetl.access.weights import WeightCache

if TYPE_CHECKING:
    from geoetl.access.items import FoundAsset
    from geoetl.access.layout import OpenCube, Selection
    from geoetl.access.region import Region
    from geoetl.core.spatial import BBox


class RegionalAccess:
    """Answers questions about regions of cubes.

    Args:
        limits: What a question may cost where it does not say.
    """

    def __init__(self, limits: QueryLimits) -> None:
        self._limits = limits
        self._weights = WeightCache()

    def opened(self, collection: str, item: str, asset: str | None = None) -> "tuple[OpenCube, FoundAsset]":
        """Return an open cube with what was worked out about it.

        Raises:
            NotFound: There is no such item or asset.
        """
        raise NotImplementedError

    def statistics(
        self,
        collection: str,
        item: str,
        region: "BBox | Region",
        *,
        asset: str | None = None,
        variable: str | None = None,
        sel: "Selection | None" = None,
        start_time: str | None = None,
        end_time: str | None = None,
        resolution: str = "monthly",
        statistic: str = "mean",
        percentile: float | None = None,
        weighted: bool = True,
        limits: QueryLimits | None = None,
    ) -> RegionalSeries:
        """Return statistics of a region over time: of each cell over each period first, then over the region.

        Each cell weighs as much as the region has of it, on the sphere; where a step has no data its cell is left out.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            region: A box (west > east crosses the antimeridian) or a region.
            asset: Key of the asset; the item's cube where it is left out.
            variable: Name of the variable; the item's own where it is left out.
            sel: A value for each extra dimension; the first value of those left out.
            start_time: First time, ISO 8601 in the cube's own calendar or a part of it; the first where left out.
            end_time: Last time; a part of a date means all of it.
            resolution: ``none`` (every step), ``daily``, ``monthly``, ``seasonal`` or ``yearly``.
            statistic: What is taken of each cell over a period: mean, min, max, sum, median, std, count or percentile.
            percentile: A percentile over the region that is wanted too, 0 to 100; with ``statistic="percentile"`` also
                the one over time.
            weighted: False for the plain mean, in which every cell weighs the same.
            limits: What the question may cost; left out, what this machine can work out.

        Raises:
            NotFound: There is no such item or asset, the region has no cells, or no step lies between the times.
            InvalidParameter: A variable, value, resolution, statistic or percentile is not right.
            InvalidTime: A time is not right.
            LimitExceeded: It costs too much; nothing was read.
        """
        bounds = limits or self._limits
        wanted = Wanted(variable, sel, start_time, end_time)
        question = self._question(collection, item, asset, region, wanted, bounds, weighted=weighted)
        plan = RegionalPlan(question, resolution=resolution, statistic=statistic, percentile=percentile)
        question.check(bounds, plan.estimate(bounds))
        return plan.run()

    def estimate_statistics(
        self,
        collection: str,
        item: str,
        region: "BBox | Region",
        *,
        asset: str | None = None,
        variable: str | None = None,
        sel: "Selection | None" = None,
        start_time: str | None = None,
        end_time: str | None = None,
        resolution: str = "monthly",
        statistic: str = "mean",
        percentile: float | None = None,
        weighted: bool = True,
        limits: QueryLimits | None = None,
    ) -> Estimate:
        """Return what `statistics` costs with the same parameters; nothing is read.

        Raises:
            NotFound: There is no such item or asset, the region has no cells, or no step lies between the times.
            InvalidParameter: A variable, value, resolution, statistic or percentile is not right.
            InvalidTime: A time is not right.
            LimitExceeded: The range of time is too long, or the region has too many cells.
        """
        bounds = limits or self._limits
        wanted = Wanted(variable, sel, start_time, end_time)
        question = self._question(collection, item, asset, region, wanted, bounds, weighted=weighted)
        plan = RegionalPlan(question, resolution=resolution, statistic=statistic, percentile=percentile)
        return plan.estimate(bounds)

    def aggregate(
        self,
        collection: str,
        item: str,
        region: "BBox | Region",
        *,
        asset: str | None = None,
        variable: str | None = None,
        sel: "Selection | None" = None,
        start_time: str | None = None,
        end_time: str | None = None,
        aggregation: str = "mean",
        percentile: float | None = None,
        limits: QueryLimits | None = None,
    ) -> FieldAggregate:
        """Return a statistic over time in each cell of a region, and what that field is like over the region.

        Args:
            collection: STAC collection id.
            item: STAC item id.
            region: A box (west > east crosses the antimeridian) or a region; cells outside of it are NaN.
            asset: Key of the asset; the item's cube where it is left out.
            variable: Name of the variable; the item's own where it is left out.
            sel: A value for each extra dimension; the first value of those left out.
            start_time: First time, ISO 8601 in the cube's own calendar or a part of it; the first where left out.
            end_time: Last time; a part of a date means all of it.
            aggregation: mean, min, max, sum, median, std, count or percentile.
            percentile: Which percentile, 0 to 100, where the aggregation is that.
            limits: What the question may cost; left out, what this machine can work out.

        Raises:
            NotFound: There is no such item or asset, the region has no cells, or no step lies between the times.
            InvalidParameter: A variable, value, aggregation or percentile is not right.
            InvalidTime: A time is not right.
            LimitExceeded: It costs too much; nothing was read.
        """
        bounds = limits or self._limits
        wanted = Wanted(variable, sel, start_time, end_time)
        question = self._question(collection, item, asset, region, wanted, bounds)
        plan = FieldPlan(question, aggregation=aggregation, percentile=percentile)
        question.check(bounds, plan.estimate(bounds))
        return plan.run()

    def estimate_aggregate(
        self,
        collection: str,
        item: str,
        region: "BBox | Region",
        *,
        asset: str | None = None,
        variable: str | None = None,
        sel: "Selection | None" = None,
        start_time: str | None = None,
        end_time: str | None = None,
        aggregation: str = "mean",
        percentile: float | None = None,
        limits: QueryLimits | None = None,
    ) -> Estimate:
        """Return what `aggregate` costs with the same parameters; nothing is read.

        Raises:
            NotFound: There is no such item or asset, the region has no cells, or no step lies between the times.
            InvalidParameter: A variable, value, aggregation or percentile is not right.
            InvalidTime: A time is not right.
            LimitExceeded: The range of time is too long, or the region has too many cells.
        """
        bounds = limits or self._limits
        wanted = Wanted(variable, sel, start_time, end_time)
        question = self._question(collection, item, asset, region, wanted, bounds)
        plan = FieldPlan(question, aggregation=aggregation, percentile=percentile)
        return plan.estimate(bounds)

    def _question(
        self,
        collection: str,
        item: str,
        asset: str | None,
        region: "BBox | Region",
        wanted: Wanted,
        limits: QueryLimits,
        *,
        weighted: bool = True,
    ) -> RegionalQuestion:
        cube, found = self.opened(collection, item, asset)
        return RegionalQuestion.of(cube, found, region, wanted, limits, self._weights, weighted=weighted)
