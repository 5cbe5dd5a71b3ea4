"""The kernel that a guide is tested in: as JupyterLab starts it, without what takes a second and a half to load.

That is a debugger, which no guide uses, and what `papermill_alone` leaves out; HoloViews would load it for a notebook's
format.
"""

import importlib
import sys

from geoetl.runs.notebook import papermill_alone

if __name__ == "__main__":
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    with papermill_alone():
        importlib.import_module("nbformat")
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()
