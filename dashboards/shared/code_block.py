"""Programs to copy, compiled into ``geoetl.bundle.js``."""

from pathlib import Path
from typing import ClassVar

import param

from dashboards.shared.map import Component

_FOLDER = Path(__file__).parent


class CodeBlock(Component):
    """Shows one of several programs and copies it."""

    programs = param.Dict(default={}, doc="The programs by name.")
    chosen = param.String(default="", doc="Name of the one that is shown; the first where there is none of that name.")

    _esm: ClassVar[str] = "code_block.js"
    _stylesheets: ClassVar[list[str]] = [(_FOLDER / "code_block.css").read_text(encoding="utf-8")]
