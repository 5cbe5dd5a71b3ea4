"""The page *Style*: how a layer is drawn, by a form, by classes and as CartoSym-JSON; live on a map.

``model`` state and commands, without Panel · ``draft`` changes of a style's document · ``history`` undo and redo ·
``condition`` selectors as rows or text · ``form`` the fields of a rule · ``classes`` classes on trial · ``outputs`` the
style for each target · ``subject`` the layer · ``picture`` coverages in colours · ``address`` the state as a link ·
``markup``, ``panels``, ``view`` how it looks.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.style.view import StyleView
    from geoetl.platform import Platform

__all__ = ["edit"]


def edit(platform: "Platform", layer_id: str = "", style_id: str = "") -> "StyleView":
    """Return the page for the last line of a notebook cell.

    Args:
        platform: What answers.
        layer_id: The layer to open: ``collection:item`` of features, or a collection of rasters or cubes.
        style_id: The style to open; left out, the layer's default.
    """
    import panel as pn

    from dashboards.shared.visitor import visitor
    from dashboards.shared.warm import warm_up
    from dashboards.style.model import StyleModel
    from dashboards.style.view import StyleView

    pn.extension()
    warm_up()
    model = StyleModel(platform, visitor())
    view = StyleView(model)
    if layer_id:
        model.open(layer_id, style_id)
    return view
