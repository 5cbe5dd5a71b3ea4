"""The header of every page: its pages, and where one is."""

from html import escape

PAGES = {
    "explore": "Explore",
    "style": "Style",
    "review": "Review",
    "datasets": "Datasets",
    "runs": "Runs",
}
_LINK = "color:#fff;text-decoration:none;padding:14px 12px"
_HERE = ";box-shadow:inset 0 -3px #8fd6d1"


def navigation(current: str) -> str:
    """Return the links to the pages; `current` is the one that is shown.

    They are relative, as every address of a page, so that it works below any path of a proxy.
    """
    links = "".join(
        f'<a href="{path}" style="{_LINK}{_HERE if path == current else ""}"'
        f"{' aria-current="page"' if path == current else ''}>{escape(title)}</a>"
        for path, title in PAGES.items()
    )
    style = "font:14px/20px Roboto,sans-serif;padding-left:16px;display:flex;height:48px"
    return f'<nav aria-label="Pages" style="{style}">{links}</nav>'
