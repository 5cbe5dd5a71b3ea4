"""The copiers, which bring what is published to the external zone: ours, and those of installed packages.

``objects`` through this machine, or within a store; ``data_factory`` by Azure Data Factory.
"""

from geoetl.core.registry import Registry
from geoetl.publish.copiers.data_factory import DataFactoryCopier
from geoetl.publish.copiers.objects import ObjectsCopier
from geoetl.publish.copiers.protocol import ENTRY_POINTS, Copier, MakeCopier, Tell, Transfer

__all__ = ["COPIERS", "Copier", "MakeCopier", "Tell", "Transfer", "installed_copiers"]

COPIERS: Registry[MakeCopier] = Registry(
    "copier", {"objects": ObjectsCopier.make, "data_factory": DataFactoryCopier.make}
)


def installed_copiers() -> Registry[MakeCopier]:
    """Return our copiers and those of installed packages."""
    return COPIERS.with_entry_points(ENTRY_POINTS)
