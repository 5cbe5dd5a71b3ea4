"""What a question about a region of a cube comes to: which variable, steps and cells, and what they cost to read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoetl.access.cost import Estimate, Fitting, QueryLimits
from geoetl.access.grid import IrregularGrid
from geoetl.access.layout import Layout, OpenCube, Selection, VariableInfo, picked_positions
from geoetl.access.over_time import Cells
from geoetl.access.periods import select_steps
from geoetl.access.weights import EQUAL_WEIGHTS, WeightCache, Weights, cell_weights, irregular_areas
from geoetl.core.spatial import BBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoetl.access.items import FoundAsset
    from geoetl.access.region import Region


@dataclass(frozen=True)
class Wanted:
    """Which part of a cube is wanted, besides the place.

    Attributes:
        variable: Name of the variable; the cube's own where it is None.
        sel: A value for each extra dimension; the first of those left out.
        start_time: ISO 8601 in the cube's own calendar, or a part of it.
        end_time: The same; a part of a date means all of it.
    """

    variable: str | None
    sel: Selection | None
    start_time: str | None
    end_time: str | None


@dataclass(frozen=True, eq=False)
class RegionalQuestion:
    """A region of a variable over some steps, before anything of it is read.

    Attributes:
        found: The asset.
        variable: What is asked for.
        layout: How that is laid out.
        region: The region as it was asked for.
        steps: Positions along the time axis.
        cells: What will be read.
        area_km2: Area of the region on the sphere; None where cells have no known area.
        sel: The values of the extra dimensions that were taken.
    """

    found: "FoundAsset"
    variable: VariableInfo
    layout: Layout
    region: "BBox | Region"
    steps: "NDArray[np.intp]"
    cells: Cells
    area_km2: float | None
    sel: dict[str, str | float | int]

    @classmethod
    def of(
        cls,
        cube: OpenCube,
        found: "FoundAsset",
        region: "BBox | Region",
        wanted: Wanted,
        limits: QueryLimits,
        kept: WeightCache,
        *,
        weighted: bool = True,
    ) -> "RegionalQuestion":
        """Work out what is asked for.

        Args:
            cube: The open cube.
            found: The asset that it was opened from.
            region: A box or a region.
            wanted: Which part of the cube.
            limits: What a question may ask for.
            kept: Weights that were worked out before.
            weighted: Whether cells weigh as much as the region has of them.

        Raises:
            InvalidParameter: A variable or value is not right.
            InvalidTime: A time is not right.
            NotFound: The region has no cells, or no step lies between the times.
            LimitExceeded: The range of time is too long, or the region has too many cells.
        """
        name = cube.variable(wanted.variable)
        layout = cube.layout(name)
        picked, taken = picked_positions(layout, wanted.sel)
        steps = select_steps(layout, wanted.start_time, wanted.end_time)
        if layout.time is not None:
            first, last = (layout.time.day_number(int(steps[at])) for at in _ends(layout, steps))
            limits.check_range(len(steps), first, last)

        def work_out() -> Weights:
            grid = layout.grid
            areas = irregular_areas(cube.dataset, name, grid) if isinstance(grid, IrregularGrid) else None
            return cell_weights(grid, region, areas)

        weights = kept.get((found.key, name, region_key(region)), work_out)
        cells = Cells(found, cube.dataset[name], picked, layout.time_dim, weights if weighted else weights.unweighted())
        area = None if weights.weighting == EQUAL_WEIGHTS else weights.total
        return cls(found, cube.info(name), layout, region, steps, cells, area, taken)

    @property
    def box(self) -> BBox:
        """The box of the region."""
        return self.region if isinstance(self.region, BBox) else self.region.bbox

    def span(self) -> tuple[str, str] | None:
        """Return the times of the first and the last step; None without time."""
        if self.layout.time is None:
            return None
        first, last = _ends(self.layout, self.steps)
        texts = self.layout.times
        return texts[int(self.steps[first])], texts[int(self.steps[last])]

    def check(self, limits: QueryLimits, cost: Estimate) -> None:
        """Refuse what costs too much.

        Raises:
            LimitExceeded: It does.
        """
        steps = len(self.steps)
        share = min(limits.bytes / max(cost.bytes, 1), limits.chunks / max(cost.chunks, 1))
        smaller = Fitting("bbox", f"Give a region of at most {limits.values / max(cost.values, 1):.2g} times the size.")
        fitting = int(steps * share)
        if steps > 1 and fitting:
            reading = Fitting("end_time", f"Give start_time and end_time at most {fitting:,} of {steps:,} steps apart.")
        else:
            reading = Fitting("bbox", "Give a smaller region.")
        limits.check(cost, smaller, reading)


def _ends(layout: Layout, steps: "NDArray[np.intp]") -> tuple[int, int]:
    """Return where among the steps the earliest and the latest are; the first and last where there are no dates."""
    assert layout.time is not None
    if layout.time.calendar is None:
        return 0, len(steps) - 1
    ticks = layout.time.ticks[steps]
    return int(ticks.argmin()), int(ticks.argmax())


def region_key(region: "BBox | Region") -> tuple[object, ...]:
    """Return what tells a region from any other."""
    if isinstance(region, BBox):
        return tuple(region.as_list())
    import hashlib

    import shapely

    return (hashlib.sha256(shapely.to_wkb(region.geometry)).hexdigest(),)
