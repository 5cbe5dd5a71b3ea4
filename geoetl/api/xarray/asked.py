"""Parameters that questions about cubes share."""

from typing import Annotated, Literal

from fastapi import Path, Query

Collection = Annotated[str, Path(description="STAC collection id")]
Item = Annotated[str, Path(description="STAC item id")]
Asset = Annotated[str | None, Query(description="Key of the asset; left out, the item's cube")]
Variable = Annotated[str | None, Query(description="Variable; left out, the item's own")]
Sel = Annotated[list[str], Query(description="Value of an extra dimension, as name=value; may be repeated")]
StartTime = Annotated[
    str | None, Query(description="First time, in the cube's own calendar: 2000, 2000-02, 2000-02-30T12:00:00Z")
]
EndTime = Annotated[str | None, Query(description="Last time; of a partial date all of it")]
Percentile = Annotated[float | None, Query(ge=0, le=100, description="Which percentile, where statistic=percentile")]
OnlyEstimate = Annotated[bool, Query(description="Answer what it would cost instead")]
Resolution = Literal["none", "daily", "monthly", "seasonal", "yearly"]
Statistic = Literal["mean", "min", "max", "sum", "median", "std", "count", "percentile"]
