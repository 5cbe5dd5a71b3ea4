"""Values, errors, findings and settings: what every other room builds on, without I/O.

``errors`` one tree with stable codes · ``spatial`` boxes and points · ``temporal`` intervals and CF calendars ·
``identifiers`` ids and digests · ``findings`` what a check returns · ``registry`` frozen plug-in registry ·
``settings`` read once, at the edge · ``postponed`` modules of others, loaded when they are called.
"""
