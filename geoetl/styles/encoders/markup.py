"""XML as text: what stands between tags and in attributes is escaped here, and nowhere else.

A tree of elements that is written in the end takes several times as long, and parts that stand in many places would be
written in each of them.
"""

import re
from collections.abc import Mapping
from typing import NewType
from xml.sax.saxutils import escape

# What is written already.
Xml = NewType("Xml", str)

# A reader takes a bare carriage return for a line feed, and either of them in an attribute for a space.
_ENTITIES = {'"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
_SPECIAL = re.compile('[&<>"\r\n\t]')


def written(tag: str, *children: Xml, text: str = "", attributes: Mapping[str, str] | None = None) -> Xml:
    """Return an element with its text, or its children without space between them."""
    given = _attributes(attributes) if attributes else ""
    return Xml(f"<{tag}{given}>{escaped(text) if text else ''.join(children)}</{tag}>")


def in_lines(tag: str, *children: Xml, attributes: Mapping[str, str] | None = None) -> Xml:
    """Return an element whose children begin on lines of their own; space must have no meaning in it."""
    given = _attributes(attributes) if attributes else ""
    return Xml("\n".join([f"<{tag}{given}>", *children, f"</{tag}>"]))


def _attributes(given: Mapping[str, str]) -> str:
    return "".join([f' {name}="{escaped(value)}"' for name, value in given.items()])


def escaped(text: str) -> str:
    """Return a text for an element or an attribute."""
    return escape(text, _ENTITIES) if _SPECIAL.search(text) else text
