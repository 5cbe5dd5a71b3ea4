"""What lasts, and what may be opened.

``database`` engine and units of work · ``migrations`` Alembic · ``zones`` internal and external object zones ·
``artifacts`` every object that was written · ``samples`` data shipped in packages · ``gate`` the only place that opens
rasters, cubes, vectors, archives and references · ``catalog`` the only writers and readers of STAC.
"""
