"""One look: the colours of light and dark, the type scale and the spacing of every page.

Colours reach our own components as CSS variables (``--ge-…``) and Material UI as its theme, both from `Palette`.
Text on `surface`, `sunken` and `accent_soft` has a contrast of at least 4.5:1 (WCAG 2.2, AA) in both themes; a test
computes it.
"""

from dataclasses import asdict, dataclass
from typing import Any

FONT = "Roboto, system-ui, -apple-system, 'Segoe UI', sans-serif"
HEADER_PX = 48
# After Okabe and Ito, in the order of most difference, brought to one lightness: white letters on them have 4.8:1, and
# they themselves at least 3.3:1 on both surfaces.
POINT_COLOURS = ("#0077b9", "#ba5200", "#00815e", "#b94686", "#976800", "#8e55c7")
VECTOR_COLOURS = ("#0b6b6b", "#b5530c", "#5b4aa8", "#a8325e", "#3f6b12", "#7a5a00")


@dataclass(frozen=True)
class Palette:
    """The colours of one theme; the names are those of the CSS variables, with ``_`` for ``-``.

    `control` is the edge of what can be written into; `scheme` tells the browser's own controls which theme it is.
    """

    surface: str
    sunken: str
    hover: str
    veil: str
    line: str
    control: str
    text: str
    muted: str
    accent: str
    accent_soft: str
    focus: str
    error: str
    sea: str
    header: str
    shadow: str
    scheme: str

    def css_variables(self) -> str:
        """Return the declarations of the CSS variables."""
        return " ".join(f"--ge-{name.replace('_', '-')}: {value};" for name, value in asdict(self).items())


LIGHT = Palette(
    surface="#ffffff",
    sunken="#eef2f3",
    hover="#f2f5f6",
    veil="rgb(255 255 255 / .82)",
    line="#d9dfe2",
    control="#7f8c94",
    text="#1b2328",
    muted="#55626a",
    accent="#0b6b6b",
    accent_soft="#ddefee",
    focus="#b34700",
    error="#b3261e",
    sea="#cfdde6",
    header="#0d3b3e",
    shadow="0 1px 2px rgb(20 30 36 / .16), 0 4px 16px rgb(20 30 36 / .14)",
    scheme="light",
)
DARK = Palette(
    surface="#1a2126",
    sunken="#252e34",
    hover="#232c32",
    veil="rgb(20 27 32 / .82)",
    line="#36424a",
    control="#74848d",
    text="#e6ecef",
    muted="#9fadb5",
    accent="#5fc9c3",
    accent_soft="#173b3c",
    focus="#ffa657",
    error="#ff8a80",
    sea="#0f1519",
    header="#0b1f22",
    shadow="0 1px 2px rgb(0 0 0 / .5), 0 4px 16px rgb(0 0 0 / .5)",
    scheme="dark",
)


def palette(dark: bool) -> Palette:
    """Return the colours of the theme."""
    return DARK if dark else LIGHT


def theme_config() -> dict[str, Any]:
    """Return the theme for panel-material-ui, light and dark.

    The type scale is 12, 14, 16 and 20 px; spacing is a multiple of 8 px, halves within a control.
    """
    return {"light": _scheme(LIGHT), "dark": _scheme(DARK)}


def _scheme(colours: Palette) -> dict[str, Any]:
    strong = {"fontWeight": 700, "lineHeight": 1.4}
    return {
        "palette": {
            "primary": {"main": colours.accent, "contrastText": "#ffffff" if colours is LIGHT else "#0e1518"},
            "error": {"main": colours.error},
            "background": {"default": colours.surface, "paper": colours.surface},
            "text": {"primary": colours.text, "secondary": colours.muted},
            "divider": colours.line,
        },
        "shape": {"borderRadius": 8},
        "spacing": 8,
        "typography": {
            "fontFamily": FONT,
            "fontSize": 14,
            "h5": {**strong, "fontSize": "20px"},
            "h6": {**strong, "fontSize": "16px"},
            "subtitle2": {**strong, "fontSize": "14px"},
            "body1": {"fontSize": "14px", "lineHeight": "20px"},
            "body2": {"fontSize": "14px", "lineHeight": "20px"},
            "caption": {"fontSize": "12px", "lineHeight": "16px"},
            "button": {"textTransform": "none", "fontSize": "14px", "fontWeight": 700},
        },
        "components": {
            "MuiButtonBase": {
                "defaultProps": {"disableRipple": True},
                "styleOverrides": {
                    "root": {"&.Mui-focusVisible": {"outline": f"2px solid {colours.focus}", "outlineOffset": "1px"}}
                },
            },
            "MuiAppBar": {
                "styleOverrides": {
                    "root": {
                        "&.MuiAppBar-root": {"backgroundColor": colours.header, "color": "#ffffff", "boxShadow": "none"}
                    }
                }
            },
            "MuiToolbar": {
                "styleOverrides": {"root": {"&.MuiToolbar-root": {"minHeight": HEADER_PX, "padding": "0 16px"}}}
            },
            "MuiTab": {"styleOverrides": {"root": {"minHeight": 40, "padding": "8px 12px", "minWidth": 0}}},
            "MuiTabs": {"styleOverrides": {"root": {"minHeight": 40}}},
            "MuiPaper": {"styleOverrides": {"root": {"backgroundImage": "none"}}},
        },
    }
