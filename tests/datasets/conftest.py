"""Failures in the suite of handlers show the values that differ."""

import pytest

pytest.register_assert_rewrite("geoetl.testing.datasets")
