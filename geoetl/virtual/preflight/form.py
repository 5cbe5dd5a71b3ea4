"""Arrays of one name compared between files: what references can have only once has to be equal in all."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from geoetl.virtual.combine import is_one_plain_piece
from geoetl.virtual.header import MEANING, TIME, ArrayHeader, FileHeader
from geoetl.virtual.preflight.clocks import calendar_of
from geoetl.virtual.preflight.content import compare_contents
from geoetl.virtual.preflight.notes import GROUP, Note, apart, named, split_by
from geoetl.virtual.preflight.texts import Form, attribute_key, called, value_text

_CODES = {"_FillValue": "fill_value", "_Unsigned": "unsigned"}
# A conversion unpacks, scales and masks every file by its own header, so these may differ.
_EVENED_OUT = {"storage", "dtype", "chunk_shape", "codecs", "storage_fill", "epoch"} | (
    set(MEANING) - {"units", "calendar"}
)


@dataclass(frozen=True)
class Compared:
    """What differs between files.

    Attributes:
        notes: One for each value of each attribute that is not the usual one.
        fingerprints: Of each file; files with equal ones can share references.
        kinds: Of each file; files with equal ones can share a converted cube, which packs and scales anew.
    """

    notes: list[Note]
    fingerprints: list[Hashable]
    kinds: list[Hashable]


def compare(headers: Sequence[FileHeader]) -> Compared:
    """Compare the arrays of files."""
    notes: list[Note] = []
    fingerprints: list[list[Hashable]] = [[] for _ in headers]
    kinds: list[list[Hashable]] = [[] for _ in headers]
    times = [header.arrays[TIME].attributes for header in headers if TIME in header.arrays]
    bounds = {str(told[key]) for told in times for key in ("bounds", "climatology") if key in told}
    for name in dict.fromkeys(name for header in headers for name in header.arrays):
        arrays = {number: header.arrays[name] for number, header in enumerate(headers) if name in header.arrays}
        forms = _forms(arrays, headers, is_clock=name == TIME or name in bounds)
        contents, found = compare_contents(name, arrays, headers)
        for number in range(len(headers)):
            items = forms[number].items() if number in forms else ()
            fingerprints[number].append((*items, contents.get(number)))
            kinds[number].append((*(i for i in items if i[0] not in _EVENED_OUT), contents.get(number)))
        notes += _missing(name, arrays, headers)
        notes += _differences(name, arrays, forms, headers)
        notes += found
    return Compared(notes, [tuple(row) for row in fingerprints], [tuple(row) for row in kinds])


def can_be_cut(array: ArrayHeader) -> bool:
    """Tell whether an array lies in one piece that references may cut between time steps."""
    return is_one_plain_piece(array) and array.time_axis == 0


def _forms(arrays: Mapping[int, ArrayHeader], headers: Sequence[FileHeader], *, is_clock: bool) -> dict[int, Form]:
    """Return of each file what has to be equal in all, by code."""
    pointed = [array for array in arrays.values() if array.values is None]
    has_holes = any(array.grid is not None and not array.grid.is_complete for array in pointed)
    counts_time = is_clock or all(" since " in str(array.attributes.get("units")) for array in arrays.values())
    # One plain piece may be cut between its rows: its length does not matter, unless files with chunks are to be met.
    fixed_chunks = {array.chunks for array in pointed if not can_be_cut(array)}
    forms: dict[int, Form] = {}
    for number, array in arrays.items():
        axis, is_pointed = array.time_axis, array.values is None
        shape = tuple(size for place, size in enumerate(array.shape) if place != axis)
        form: Form = {"dims": array.dims, "shape": shape}
        if axis is not None:
            form["storage"] = is_pointed
        if is_pointed and (axis is not None or len(pointed) == len(arrays)):
            form["dtype"] = array.dtype.str
        elif axis is not None:
            # Loaded numbers keep their value in a wider type, and times are counted anew.
            form["dtype"] = "number" if is_clock else array.dtype.kind
        if is_pointed and axis is not None:
            form["chunk_shape"] = array.chunks if array.chunks in fixed_chunks else "one piece"
            form["codecs"] = _codecs_key(array)
            if has_holes:
                form["storage_fill"] = attribute_key(array.fill_value, "_FillValue", array.dtype)
            if is_clock and TIME in headers[number].arrays:
                # Bounds count as their coordinate does, and what is pointed at cannot be counted anew.
                form["epoch"] = str(headers[number].arrays[TIME].attributes.get("units"))
        is_counted_anew = counts_time and axis is not None and not is_pointed
        for name in MEANING:
            if (is_clock and name in ("units", "calendar")) or (is_counted_anew and name == "units"):
                continue
            value = array.attributes.get(name)
            value = calendar_of(array.attributes) if name == "calendar" and value is not None else value
            key = attribute_key(value, name, array.dtype)
            # NaN is missing whether it is declared or not, and references do not keep it.
            form[name] = None if name == "missing_value" and key == ("nan",) else key
        forms[number] = form
    return forms


def _codecs_key(array: ArrayHeader) -> Hashable:
    """Return the chain without what only matters when packing."""
    return tuple(tuple(sorted((k, str(v)) for k, v in codec.items() if k != "level")) for codec in array.codecs)


def _missing(name: str, arrays: Mapping[int, ArrayHeader], headers: Sequence[FileHeader]) -> Iterator[Note]:
    absent = tuple(number for number in range(len(headers)) if number not in arrays)
    if absent:
        what = "variable" if any(name in header.variables for header in headers) else "coordinate"
        said = f"The {what} '{name}' is not in {{files}}, but in {named(list(arrays), headers)}."
        remedy = "Leave these files out, or make one cube of each group of files that agree."
        yield apart(f"missing_{what}", said, absent, name, "missing", "given", remedy)


def _differences(
    name: str, arrays: Mapping[int, ArrayHeader], forms: Mapping[int, Form], headers: Sequence[FileHeader]
) -> Iterator[Note]:
    if len({tuple(form.items()) for form in forms.values()}) == 1:
        return
    otherwise_formed: set[int] = set()
    for code in dict.fromkeys(code for form in forms.values() for code in form):
        # Another size or storage always has other chunks: said once.
        known = otherwise_formed if code in ("dtype", "chunk_shape") else ()
        usual, others = split_by((n, form[code]) for n, form in forms.items() if code in form and n not in known)
        for numbers in others:
            if code in ("dims", "shape", "storage"):
                otherwise_formed.update(numbers)
            got, expected = (value_text(code, arrays[some[0]], forms[some[0]]) for some in (numbers, usual))
            said = f"The {called(code, name)} {got} in {{files}}, but {expected} in {named(usual, headers)}."
            yield apart(_CODES.get(code, code), said, numbers, name, got, expected, GROUP)
