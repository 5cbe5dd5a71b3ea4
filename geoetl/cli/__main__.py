"""``python -m geoetl.cli``."""

from geoetl.cli.main import run

run()
