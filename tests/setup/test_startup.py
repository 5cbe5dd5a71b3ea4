"""Nothing heavy is loaded before it is needed; the times themselves are measured by benchmarks/startup.py."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "alembic", "bokeh", "dask", "distributed", "fastapi", "geopandas", "h5py", "holoviews", "IPython", "numpy",
    "obstore", "pandas", "panel", "papermill", "pyarrow", "pyogrio", "pystac", "rasterio", "scipy", "shapely",
    "sqlalchemy", "virtualizarr", "xarray", "zarr",
}  # fmt: skip
# The command line may show itself with these; the bare import may not even have them.
INTERFACE = {"click", "pydantic", "rich", "typer"}


def modules_after(code: str) -> set[str]:
    """Return the top names of the modules that a new interpreter has loaded after `code`."""
    tell = "import json; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    script = f"import sys\n{code}\n{tell}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_geoetl_loads_nothing_heavy() -> None:
    assert not modules_after("import geoetl") & (HEAVY | INTERFACE)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["catalog", "search", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = modules_after(
        f"sys.argv = ['geoetl', *{arguments!r}]\n"
        "from geoetl.cli.main import run\n"
        "try:\n    run()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
    )
    assert not loaded & HEAVY


def test_executing_a_notebook_loads_neither_a_grammar_of_addresses_nor_ways_to_sign_in() -> None:
    loaded = modules_after(
        "from geoetl.runs.notebook import papermill_alone\nwith papermill_alone():\n    import papermill"
    )
    assert {"papermill", "jsonschema"} <= loaded
    assert not loaded & {"rfc3987_syntax", "lark", "msal", "cryptography"}


def test_connecting_loads_no_numbers() -> None:
    code = "import tempfile, geoetl\nwith tempfile.TemporaryDirectory() as home:\n    geoetl.connect(home)"
    assert not modules_after(code) & {"numpy", "pandas", "pyarrow", "shapely"}
