"""The handlers of managed datasets: ours, and those of installed packages.

``acled`` events of political violence and protest · ``admin0`` Natural Earth's countries · ``fathom`` flood depths ·
``wdpa`` protected areas.
"""

from geoetl.core.registry import Registry
from geoetl.datasets.handlers.acled import Acled
from geoetl.datasets.handlers.admin0 import Admin0
from geoetl.datasets.handlers.fathom import Fathom
from geoetl.datasets.handlers.wdpa import Wdpa
from geoetl.datasets.protocol import ENTRY_POINTS, DatasetHandler

HANDLERS: Registry[type[DatasetHandler]] = Registry(
    "dataset handler",
    {
        "acled": Acled,
        "admin0": Admin0,
        "fathom": Fathom,
        "wdpa": Wdpa,
    },
)


def installed_handlers() -> Registry[type[DatasetHandler]]:
    """Return our handlers and those of installed packages."""
    return HANDLERS.with_entry_points(ENTRY_POINTS)
