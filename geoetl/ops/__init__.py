"""Keeping the platform in order: what nothing needs any more is found, told, and removed when somebody says so.

``model`` what is asked and what is told · ``janitor`` all parts together · ``needs`` what is needed, by whom ·
``alone`` the moment in which nobody else writes · ``listing`` what lies in a zone · ``objects`` those that nothing
needs · ``unfinished`` writes of writers that died · ``left_runs`` runs that nobody executes · ``notebooks`` old ones ·
``temporary`` files and caches of this machine · ``history`` what was done · ``tables`` of it.
"""

from geoetl.ops.janitor import Janitor
from geoetl.ops.model import Cleanup, CleanupRequest, Leftover, Part, Plan

__all__ = ["Cleanup", "CleanupRequest", "Janitor", "Leftover", "Part", "Plan"]
