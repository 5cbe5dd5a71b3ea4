"""The columns that every release has, whatever it calls them.

Until 2025 a site was WDPAID and WDPA_PID, since then it is SITE_ID and SITE_PID; MARINE became REALM, with other values
too: a filter on the old name finds nothing in a new file and says nothing. Here all have the new names.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from geoetl.core.errors import UnreadableFile

if TYPE_CHECKING:
    import pyarrow as pa

KEY = "SITE_PID"
# In the order of the files of 2025; each with its type in Arrow.
COLUMNS: Mapping[str, str] = {
    "SITE_ID": "int64", "SITE_PID": "string", "SITE_TYPE": "string", "NAME_ENG": "string", "NAME": "string",
    "DESIG": "string", "DESIG_ENG": "string", "DESIG_TYPE": "string", "IUCN_CAT": "string", "INT_CRIT": "string",
    "REALM": "string", "REP_M_AREA": "float64", "GIS_M_AREA": "float64", "REP_AREA": "float64", "GIS_AREA": "float64",
    "NO_TAKE": "string", "NO_TK_AREA": "float64", "STATUS": "string", "STATUS_YR": "int32", "GOV_TYPE": "string",
    "GOVSUBTYPE": "string", "OWN_TYPE": "string", "OWNSUBTYPE": "string", "MANG_AUTH": "string", "MANG_PLAN": "string",
    "VERIF": "string", "METADATAID": "int64", "PRNT_ISO3": "string", "ISO3": "string", "SUPP_INFO": "string",
    "CONS_OBJ": "string", "INLND_WTRS": "string", "OECM_ASMT": "string",
}  # fmt: skip
# Only areas have these.
OF_AREAS = frozenset({"GIS_AREA", "GIS_M_AREA"})
# Names of the files before, and of some between. PARENT_ISO is cut to the ten letters that a Shapefile has.
_FORMER = {
    "WDPAID": "SITE_ID", "WDPA_PID": "SITE_PID", "PA_DEF": "SITE_TYPE", "MARINE": "REALM",
    "PARENT_ISO": "PRNT_ISO3", "PARENT_ISO3": "PRNT_ISO3", "PARENT_ISO_3": "PRNT_ISO3",
}  # fmt: skip
# Their names stood the other way round: NAME was the English one.
_FORMER_NAMES = {"NAME": "NAME_ENG", "ORIG_NAME": "NAME"}
_REALMS = {"0": "Terrestrial", "1": "Coastal", "2": "Marine"}
_SITE_TYPES = {"1": "PA", "0": "OECM"}


class Columns:
    """The columns of a layer, by the names that every release has here.

    Args:
        source: Columns of the file.
        geometry: Which of them is none.
        layer: Its name, for messages.
        is_of_points: Whether its features have no area.

    Attributes:
        schema: What `of` returns.

    Raises:
        UnreadableFile: Sites cannot be told apart by it.
    """

    def __init__(self, source: "pa.Schema", geometry: str, layer: str, *, is_of_points: bool) -> None:
        import pyarrow as pa

        given = {field.name.upper(): at for at, field in enumerate(source) if field.name != geometry}
        names = _FORMER | (_FORMER_NAMES if "ORIG_NAME" in given else {})
        self._position: dict[str, int] = {}
        # What has its new name already wins over what would get it.
        for name, at in sorted(given.items(), key=lambda one: one[0] in names):
            self._position.setdefault(names.get(name, name), at)
        missing = [name for name in ("SITE_ID", KEY) if name not in self._position]
        if missing:
            raise UnreadableFile(
                f"The layer '{layer}' has no column {' or '.join(missing)}, nor what they were called before 2025.",
                hint=f"It has {', '.join(list(given)[:8])}: see whether the source changed its columns again.",
                field="source_url",
            )
        known = [name for name in COLUMNS if name in self._position and not (is_of_points and name in OF_AREAS)]
        # What comes new is kept, behind.
        others = [name for name in self._position if name not in COLUMNS]
        self.schema = pa.schema(
            [pa.field(name, pa.type_for_alias(COLUMNS[name])) for name in known]
            + [source.field(self._position[name]).with_name(name).remove_metadata() for name in sorted(others)]
        )

    def of(self, batch: "pa.RecordBatch") -> "pa.RecordBatch":
        """Return some features in these columns.

        Raises:
            UnreadableFile: A number is none.
        """
        import pyarrow as pa

        columns = [_made(field, batch.column(self._position[field.name])) for field in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _made(field: "pa.Field", column: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    try:
        if pa.types.is_string(field.type) and pa.types.is_floating(column.type):
            # Shapefiles have whole numbers as floating point: 478140 and not 478140.0 is a SITE_PID.
            column = column.cast(pa.int64())
        if pa.types.is_integer(field.type) and pa.types.is_string(column.type):
            column = column.cast(pa.float64())
        column = column.cast(field.type)
    except pa.ArrowInvalid:
        raise UnreadableFile(
            f"The column {field.name} has values that are no {field.type}.",
            hint="See whether the source changed what it holds.",
            field="source_url",
        ) from None
    if field.name == "REALM":
        return _told(column, _REALMS)
    if field.name == "SITE_TYPE":
        return _told(column, _SITE_TYPES)
    if field.name == "STATUS_YR":
        # 0 is a year that is not known.
        return pc.if_else(pc.equal(column, 0), pa.scalar(None, column.type), column)
    return column


def _told(column: "pa.Array", words: Mapping[str, str]) -> "pa.Array":
    """Return words for the numbers that stood in their place before."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.index_in(column, pa.array(list(words)))
    return pc.if_else(pc.is_valid(known), pc.take(pa.array(list(words.values())), known), column)
