"""The layers of the architecture hold, and `make check` notices when they do not."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("geoetl/**/*.py"), *ROOT.glob("dashboards/**/*.py")])
GATE = ROOT / "geoetl/store/gate"

# What opens files by their content, and is the gate's alone. Writing is free: there the content is our own.
OPENERS = re.compile(
    r"""
    rasterio\.(open|io\.(Zip)?MemoryFile|Env\.open|vrt\.open|shutil\.copyfiles)
    | rioxarray\.open_rasterio | rio_tiler\.io\.\w+
    | rio_cogeo\.cogeo\.cog_(validate|info|translate) | rio_cogeo\.cog_\w+
    | titiler\.\w+\.io\.\w+ | titiler\.xarray\.io\.(open_zarr|xarray_open_dataset|fs_open_dataset) | odc\.stac\.\w+
    | xarray\.(open|load)_\w+ | xarray\.backends\.(zarr|api)\.open\w* | xpystac\.\w+
    | h5py\.(File|h5f\.open) | h5netcdf\.File | h5netcdf\.legacyapi\.Dataset | netCDF4\.(MF)?Dataset
    | scipy\.io\.(netcdf_file|loadmat) | numpy\.(load|memmap|fromfile|loadtxt|genfromtxt)
    | (geopandas|pandas)\.read_(?!sql)\w+ | pyogrio\.(read|open|list|detect)_\w+
    | pyogrio\.raw\.(read|open)\w* | fiona\.open
    | pyarrow\.parquet\.(read_\w+|Parquet(File|Dataset)) | pyarrow\.dataset\.dataset
    | pyarrow\.(ipc|feather)\.(open|read)\w*
    | (zipfile|tarfile|gzip|bz2|lzma|zipimport|pmtiles\.reader)\..* | shutil\.unpack_archive | PIL\.Image\.open
    | zarr\.(open|load)\w* | zarr\.(Array|Group)\.open | zarr\.storage\.(FsspecStore|ZipStore|ObjectStore)
    | fsspec\.(filesystem|open\w*|get_mapper|implementations\..*) | kerchunk\..*
    | virtualizarr\.(open\w*|parsers\.\w+Parser)
    | icechunk\.(Repository\.(open|open_or_create|create|fetch_config)|\w+_storage)
    | (xml|lxml)\..* | (pickle|cloudpickle|dill|marshal|shelve)\.(load|loads|Unpickler|open)
    | joblib\.load | yaml\.(load|unsafe_load|full_load)
    | exifread\.process_file | osgeo\..* | intake\.open_\w+ | geopandas\.io\..*
    | papermill\.execute_notebook | sqlite3\.connect
    """,
    re.VERBOSE,
)
# What opens only what it is handed or what geoetl wrote itself, and where.
HANDED_OPEN = {
    # What the public reads, in a process that has nothing of ours: it opens as a stranger does.
    *(
        ("geoetl/publish/looking.py", name)
        for name in (
            "icechunk.Repository.fetch_config",
            "icechunk.Repository.open",
            "icechunk.http_storage",
            "icechunk.local_filesystem_storage",
            "rasterio.open",
            "fsspec.open",
            "pyarrow.parquet.ParquetFile",
            "xarray.open_dataset",
        )
    ),
    # A dataset that the gate has opened, besides a name.
    ("geoetl/intake_drivers.py", "rioxarray.open_rasterio"),
    # A raster that was just written.
    ("geoetl/ingest/raster.py", "rio_cogeo.cogeo.cog_validate"),
    # A GeoTIFF in memory that is being written.
    ("geoetl/access/export.py", "rasterio.io.MemoryFile"),
    # Features on their way, and what was just written of them.
    ("geoetl/ingest/vector/write.py", "pyarrow.ipc.open_file"),
    ("geoetl/ingest/vector/stages.py", "pyarrow.parquet.ParquetFile"),
    # Events on their way, and pages of an API that were packed here.
    ("geoetl/datasets/handlers/acled/merge.py", "pyarrow.ipc.open_file"),
    ("geoetl/datasets/handlers/acled/bronze.py", "gzip.compress"),
    ("geoetl/datasets/handlers/acled/bronze.py", "gzip.decompress"),
    # A raster that is being written.
    ("geoetl/datasets/handlers/fathom/stack.py", "rasterio.open"),
    # What a played source answers with.
    ("geoetl/testing/upstream_answers.py", "gzip.compress"),
    # Stores that are being written.
    ("geoetl/virtual/icechunk.py", "zarr.open_group"),
    ("geoetl/virtual/icechunk.py", "icechunk.Repository.create"),
    ("geoetl/virtual/icechunk.py", "icechunk.Repository.open"),
    ("geoetl/virtual/icechunk.py", "icechunk.local_filesystem_storage"),
    ("geoetl/virtual/convert/write.py", "zarr.Array.open"),
    # A NetCDF-3 file that the gate has told apart, in the limited process of a pipeline.
    ("geoetl/virtual/read.py", "virtualizarr.parsers.NetCDF3Parser"),
    # geoetl's own database.
    ("geoetl/store/database.py", "sqlite3.connect"),
    # Writes, and reads nothing.
    ("geoetl/styles/encoders/markup.py", "xml.sax.saxutils.escape"),
    # Places, by whoever runs the platform; the loader is a safe one, which makes nothing but plain values.
    ("geoetl/access/places.py", "yaml.load"),
    # Notebooks of the checkout.
    ("geoetl/runs/notebook.py", "papermill.execute_notebook"),
}

LAYERS = "Imports point down; neighbours do not know each other"
MODELS = "View-models are free of Panel and of everything that draws"
# Each way to break a contract: the lines that are added to files, and the contract.
BREACHES = {
    "upwards": ({"geoetl/core/errors.py": "import geoetl.store"}, LAYERS),
    "upwards inside a function": ({"geoetl/store/zones.py": "def late():\n    from geoetl import runs"}, LAYERS),
    "between neighbours": ({"geoetl/ingest/__init__.py": "import geoetl.virtual"}, LAYERS),
    "by a room that no layer names": ({"geoetl/newcomer.py": ""}, LAYERS),
    "of a dashboard by the library": (
        {"geoetl/platform.py": "import dashboards"},
        "Only the command line knows the dashboards",
    ),
    "of the command line by a dashboard": (
        {"dashboards/__init__.py": "import geoetl.cli"},
        "Dashboards do not know the command line",
    ),
    "of Panel by a view-model": ({"dashboards/explore/model.py": "import panel"}, MODELS),
    "of Panel by what a view-model imports": (
        {"dashboards/explore/model.py": "import dashboards.newcomer", "dashboards/newcomer.py": "import panel"},
        MODELS,
    ),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give a copy of the sources and of the contracts."""
    for name in ("geoetl", "dashboards"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.js", "*.geojson"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contracts_are_kept(copy: Path) -> None:
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("breach", BREACHES)
def test_a_wrong_import_fails_the_check(copy: Path, breach: str) -> None:
    additions, contract = BREACHES[breach]
    for file, line in additions.items():
        with (copy / file).open("a") as source:
            source.write(f"\n{line}\n")

    done = lint_imports(copy)

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_gate_opens_files(path: Path) -> None:
    if path.is_relative_to(GATE):
        return
    file = str(path.relative_to(ROOT))
    found = [
        f"line {line}: {name}"
        for line, name in references(path.read_text())
        if OPENERS.fullmatch(name) and (file, name) not in HANDED_OPEN
    ]
    assert not found, "use geoetl.store.gate instead: " + "; ".join(found)


def test_the_gate_itself_is_seen_to_open_files() -> None:
    names = {name for room in GATE.glob("*.py") for _, name in references(room.read_text()) if OPENERS.fullmatch(name)}
    assert {"rasterio.open", "zipfile.ZipFile"} <= names


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import xarray as xr\nxr.open_dataset('a.nc')", "xarray.open_dataset"),
        ("from rasterio import open as look\nlook('a.tif')", "rasterio.open"),
        ("def late():\n    import geopandas as gpd\n    return map(gpd.read_file, [])", "geopandas.read_file"),
        ("import pyarrow.parquet as pq\npq.ParquetFile('a')", "pyarrow.parquet.ParquetFile"),
        ("import h5py\nwith h5py.File('a'): ...", "h5py.File"),
        ("from zipfile import ZipFile\nZipFile('a.zip')", "zipfile.ZipFile"),
        ("from rio_tiler.io import Reader\nReader('a.tif')", "rio_tiler.io.Reader"),
        ("from titiler.xarray.io import Reader\nReader('a.nc')", "titiler.xarray.io.Reader"),
        ("import fsspec\nfsspec.filesystem('reference', fo='a.json')", "fsspec.filesystem"),
        ("import tarfile\ntarfile.open('a.tar')", "tarfile.open"),
        ("import gzip\ngzip.open('a.gz')", "gzip.open"),
        ("import zarr\nzarr.open('a.zarr')", "zarr.open"),
        (
            "import icechunk\nicechunk.Repository.open(icechunk.local_filesystem_storage('a'))",
            "icechunk.Repository.open",
        ),
        ("import sqlite3\nsqlite3.connect('a.gpkg')", "sqlite3.connect"),
        ("import papermill as pm\npm.execute_notebook('a', 'b')", "papermill.execute_notebook"),
        ("from xml.etree import ElementTree\nElementTree.parse('a.kml')", "xml.etree.ElementTree.parse"),
        ("from PIL import Image\nImage.open('a.png')", "PIL.Image.open"),
        ("import numpy as np\nnp.load('a.npy')", "numpy.load"),
    ],
)
def test_an_opener_is_found_however_it_is_imported(code: str, name: str) -> None:
    assert name in [found for _, found in references(code) if OPENERS.fullmatch(found)]


@pytest.mark.parametrize(
    "code",
    [
        "import pyogrio\npyogrio.write_dataframe(frame, 'a.pmtiles')",
        "import geopandas as gpd\ngpd.GeoDataFrame().to_parquet('a.parquet')",
        "def open_dataset(path): ...\nopen_dataset('a')",
    ],
)
def test_writing_and_our_own_names_are_free(code: str) -> None:
    assert not [name for _, name in references(code) if OPENERS.fullmatch(name)]


def references(code: str) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of everything that `code` uses of what it imports."""
    tree = ast.parse(code)
    full: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        parts: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in full:
            yield inner.lineno, ".".join([full[inner.id], *reversed(parts)])
