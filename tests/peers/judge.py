"""One node process that judges styles: MapLibre's official library, and the evaluator that Leaflet styles come with.

It takes one question a line and gives one answer a line, so that thousands of cases take seconds.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).with_name("judge.bundle.mjs")
# A zoom of a map, and a feature: {"type": "Polygon", "properties": {...}}.
Case = tuple[float, Mapping[str, Any]]


@dataclass(frozen=True)
class Judge:
    """Asks the process.

    Attributes:
        process: It runs ``judge.bundle.mjs``.
    """

    process: "subprocess.Popen[str]"

    def validate(self, style: Mapping[str, Any]) -> list[str]:
        """Return what MapLibre's validator holds against a style."""
        return list(self._ask("validate", style=style))

    def draw(self, style: Mapping[str, Any], cases: Sequence[Case]) -> list[list[dict[str, Any]]]:
        """Return for each case the layers that draw the feature, bottom first, each with the value of every property.

        Zooms are of 512-pixel tiles.  Colours are [r, g, b, a] from 0 to 1.
        """
        return list(self._ask("draw", style=style, cases=cases))

    def leaflet(self, module: Path, style: Mapping[str, Any], cases: Sequence[Case]) -> list[dict[str, Any]]:
        """Return for each case the path options that `module` gives; zooms are of 256-pixel tiles."""
        return list(self._ask("leaflet", module=str(module), style=style, cases=cases))

    def _ask(self, question: str, **given: Any) -> Any:
        asked, answered = self.process.stdin, self.process.stdout
        assert asked is not None and answered is not None
        asked.write(json.dumps({"ask": question, **given}) + "\n")
        asked.flush()
        said = json.loads(answered.readline())
        assert "error" not in said, said["error"]
        # An expression that fails gives the default of its property, which may be right by luck.
        assert not said["warnings"], said["warnings"]
        return said["answer"]


@contextmanager
def judging(node: str) -> Iterator[Judge]:
    """Give a judge; `node` is the program that runs it."""
    pipe = subprocess.PIPE
    with subprocess.Popen([node, str(BUNDLE)], stdin=pipe, stdout=pipe, encoding="utf-8") as process:
        try:
            yield Judge(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
