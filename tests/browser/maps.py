"""What a test asks of a map on a page: what it draws, and whether it has come to rest."""

import io
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FloatRect, Page

from tests.browser.conftest import LOOK_MS, SLOW_MS

Pixels = NDArray[np.int_]
# Layers of data come to the map after the panel that names them, and the move to what they show after that.
SHOWN = """([frame, layer]) => {
  const {map, model, fitted} = frame.geo ?? {}
  if (frame.dataset.ready !== "true" || !map.loaded() || map.isMoving()) { return false }
  const drawn = map.getStyle().layers.some(({id}) => id.startsWith(`data-${layer}`))
  return layer === null || (drawn && (model.fit?.serial ?? null) === fitted)
}"""


def settle(page: Page, layer: str | None = None) -> None:
    """Wait until every map of a page stands still with all of it drawn.

    Args:
        page: The page.
        layer: What has to be among it: the id of a layer of data, or how it begins.
    """
    for frame in page.locator(".frame").all():
        page.wait_for_function(SHOWN, arg=[frame.element_handle(), layer], polling=LOOK_MS)


def data_layers(page: Page) -> list[str]:
    """Return the ids of the layers of data that the map has."""
    layers = page.locator(".frame").evaluate("frame => frame.geo.map.getStyle().layers.map(layer => layer.id)")
    return [name for name in layers if name.startswith("data-")]


def pixels(page: Page, x: float, y: float, width: float, height: float) -> Pixels:
    """Return what is seen in a part of a page (pixels of CSS): array (row, column, colour)."""
    clip = FloatRect(x=x, y=y, width=width, height=height)
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip)))
    return np.asarray(picture.convert("RGB")).astype(int)


def await_pixels(look: Callable[[], Pixels], are_right: Callable[[Pixels], bool]) -> None:
    """Look again until what is seen is right.

    Raises:
        AssertionError: It never is.
    """
    deadline = time.monotonic() + SLOW_MS / 1000
    while not are_right(seen := look()):
        assert time.monotonic() < deadline, f"It looks like {seen.mean(axis=(0, 1)).tolist()} (red, green, blue)."
        time.sleep(LOOK_MS / 1000)
