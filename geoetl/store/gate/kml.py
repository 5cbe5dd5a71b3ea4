"""KML: XML of unknown origin, looked at for what would lead out of it or grow before GDAL parses it."""

import re
from pathlib import Path

from geoetl.core.errors import FormatNotAllowed

# A declaration and comments may stand before the root element.
_PROLOG_BYTES = 64 * 1024
# What other drivers of GDAL take for their own, wherever it stands near the beginning.
_OF_OTHERS = re.compile(rb"<(?:OGRVRTDataSource|VRTDataset|OGRVRTLayer|GDALTile)", re.IGNORECASE)
_BEFORE_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*\?>|<\?[^>]*\?>|<!--.*?-->)", re.DOTALL)
_ROOT = re.compile(rb"\s*<(?:[A-Za-z]\w*:)?kml[\s>]")
_ENCODING = re.compile(rb"<\?xml[^>]*encoding\s*=\s*[\"']([^\"']*)[\"']")
# In all of them a markup sign is the byte that it is in ASCII, so that what is looked for here cannot hide.
_PLAIN_ENCODINGS = re.compile(rb"utf-?8|us-ascii|ascii|iso-8859-\d+|windows-125\d", re.IGNORECASE)


def check_kml(path: Path, name: str) -> None:
    """Refuse a document with a document type: there entities are declared, which read files or grow without end.

    Raises:
        FormatNotAllowed: It has one, is in an encoding that could hide it, or is no plain KML.
    """
    with path.open("rb") as file:
        head = file.read(_PROLOG_BYTES).removeprefix(b"\xef\xbb\xbf")
    declared = _ENCODING.match(head)
    at = 0
    while before := _BEFORE_ROOT.match(head, at):
        at = before.end()
    reason = ""
    if declared and not _PLAIN_ENCODINGS.fullmatch(declared[1]):
        reason = "is in an encoding that is not read"
    elif re.match(rb"\s*<!doctype", head[at : at + 4096], re.IGNORECASE):
        reason = "declares a document type, which may read other files"
    elif not _ROOT.match(head, at) or _OF_OTHERS.search(head):
        reason = "is not plain KML"
    if reason:
        raise FormatNotAllowed(
            f"'{name}' {reason}.", hint="Write it again as KML in UTF-8 without a DOCTYPE.", field="source"
        )
