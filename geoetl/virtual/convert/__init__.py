"""A cube as a Zarr v3 store of its own, where references cannot join its files or other chunks are asked for.

The store is written region by region under a hidden name beside its target, by as many tasks as Dask runs; a journal
names the finished regions, so that a killed conversion goes on where it stood. Only what was compared with the sources
gets the target's name.

``run`` plan and convert · ``model`` their results · ``survey`` the files, compared · ``times`` in order, in one unit ·
``packing`` and attributes · ``layout`` of chunks and shards · ``read`` a box of a file · ``write`` regions, by tasks ·
``place`` journal, lock and name · ``check`` the store against the files
"""

from geoetl.virtual.convert.model import ArrayPlan, Chunking, Converted, ZarrPlan
from geoetl.virtual.convert.run import convert, plan

__all__ = ["ArrayPlan", "Chunking", "Converted", "ZarrPlan", "convert", "plan"]
