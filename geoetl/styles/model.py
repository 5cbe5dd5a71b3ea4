"""Styles as CartoSym-JSON has them: frozen values that accept what the official schema accepts, and nothing else.

Members that the schema does not name are kept, as it allows.  Colours, lengths, numbers, conditions and what else can
be an expression stay plain JSON; `geoetl.styles.values` and `geoetl.styles.cascade` say what they mean.

Source: OGC 18-067r4 (draft), ``CartoSym-JSON.schema.json`` by JSON Schema 2019-09.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from geoetl.core.errors import InvalidStyle
from geoetl.core.findings import Finding
from geoetl.core.html import heading, table
from geoetl.styles.expressions import Kind, is_condition, is_number, is_reference, is_text, kinds
from geoetl.styles.values import COLOR_NAMES, UNITS

# So many problems are listed in an answer.
MAX_PROBLEMS = 20
# An expression in the place of an object, as plain JSON.
type Tree = Mapping[str, Any]


# -- what a member may be --------------------------------------------------------------------------------------------


def _wrong(message: str) -> PydanticCustomError:
    # The message is given as a value: braces in it would be read as fields.
    return PydanticCustomError("style", "{message}", {"message": message})


def _must(accepts: Callable[[Any], bool], wanted: str) -> BeforeValidator:
    """Return a check of plain JSON by a predicate."""

    def check(value: Any) -> Any:
        if not accepts(value):
            raise _wrong(f"{shown(value)} is not {wanted}")
        return value

    return BeforeValidator(check)


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _has(keys: Sequence[str], accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a predicate of objects whose members, where they are there, fit."""
    return lambda value: isinstance(value, Mapping) and all(accepts(value[key]) for key in keys if key in value)


def _altered(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("alter", False), bool)


def _one(*choices: bool) -> bool:
    return sum(choices) == 1


def _is_angle(value: Any) -> bool:
    given = [_is_member(value, key, is_number) for key in ("deg", "rad")]
    return _one(is_number(value), *given)


def _is_length(value: Any) -> bool:
    return type(value) in (int, float) or _one(
        is_number(value), *(_is_member(value, unit, is_number) for unit in UNITS)
    )


def _is_member(value: Any, key: str, accepts: Callable[[Any], bool]) -> bool:
    return isinstance(value, Mapping) and key in value and accepts(value[key])


def _is_list(value: Any, least: int, most: int | None, accepts: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and least <= len(value) <= (most or len(value)) and all(map(accepts, value))


_place = _has(("x", "y", "z"), _is_length)
_rgb = _has(("r", "g", "b"), is_number)


def _is_place(value: Any) -> bool:
    return _one(is_reference(value), _is_list(value, 2, 3, _is_length), _place(value) and _altered(value))


def _is_color(value: Any) -> bool:
    if isinstance(value, str):
        return value in COLOR_NAMES
    return _one(is_reference(value), _rgb(value) and _altered(value), _is_list(value, 3, 3, is_number))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == int(value)


def _is_dash_pattern(value: Any) -> bool:
    changed = _is_member(value, "index", _is_whole) and _is_member(value, "value", _is_whole)
    return _one(is_reference(value), _is_list(value, 0, None, _is_whole), changed)


def _is_map(value: Any) -> bool:
    return is_reference(value) or _is_list(value, 1, None, lambda stop: isinstance(stop, list) and 2 <= len(stop) <= 3)


def _is_alignment(value: Any) -> bool:
    def one_of(*words: str) -> Callable[[Any], bool]:
        return lambda part: is_reference(part) or part in words

    parts = _has(("hAlignment",), one_of("left", "center", "right"))(value) and _has(
        ("vAlignment",), one_of("top", "middle", "bottom")
    )(value)
    return _one(is_reference(value), isinstance(value, list) and len(value) == 2, parts and _altered(value))


_Number = Annotated[Any, _must(is_number, "a number or an expression that gives one")]
_Text = Annotated[Any, _must(is_text, "a text or an expression that gives one")]
_Condition = Annotated[Any, _must(is_condition, "a condition that the official schema takes")]
_Color = Annotated[
    Any,
    _must(_is_color, 'a colour: a CSS name such as \'darkGreen\', [26, 152, 80], or {"r": 26, "g": 152, "b": 80}'),
]
_Length = Annotated[Any, _must(_is_length, 'a length: a number of pixels, or one unit as in {"px": 1.5}')]
_Angle = Annotated[Any, _must(_is_angle, 'an angle: a number, {"deg": 45} or {"rad": 0.8}')]
_Place = Annotated[Any, _must(_is_place, "a place: two or three lengths, or x, y and z")]
_DashPattern = Annotated[Any, _must(_is_dash_pattern, "a dash pattern: whole numbers of pixels")]
_Map = Annotated[Any, _must(_is_map, "a list of [value, colour] or [value, colour, name]")]
_Alignment = Annotated[Any, _must(_is_alignment, 'an alignment such as ["left", "top"]')]
_Flag = Annotated[bool, _must(lambda value: isinstance(value, bool), "true or false")]
_Words = Annotated[str, _must(lambda value: isinstance(value, str), "a text")]
_WordList = Annotated[
    tuple[str, ...],
    _must(lambda value: _is_list(value, 0, None, lambda word: isinstance(word, str)), "a list of texts"),
    Field(strict=False),
]


# -- how members are made --------------------------------------------------------------------------------------------


class _Made:
    """Has a member made by a function, which raises where it does not fit."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that hands the value to the function."""
        return core_schema.no_info_plain_validator_function(self._make)


class _Object(BaseModel):
    """An object of the schema, with what else stands in it."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    @property
    def more(self) -> Mapping[str, Any]:
        """The members that the schema does not name."""
        return self.__pydantic_extra__ or {}


def _or_reference(model: Callable[[], type[_Object]]) -> Callable[[Any], Any]:
    """Return a maker of an object, or of the expression in its place: exactly one of the two has to fit."""

    def make(value: Any) -> Any:
        if not is_reference(value):
            return _object_of(model(), value)
        if not _fits(model(), value):
            return value
        raise _wrong(
            f"{shown(value)} is refused here by the official schema, which cannot tell an expression from an object; "
            "write a nested rule for each value, or expressions inside of the object"
        )

    return make


def _object_of[M: _Object](model: type[M], value: Any) -> M:
    if not isinstance(value, Mapping):
        raise _wrong(f"{shown(value)} is not an object")
    return model.model_validate(value)


def _fits(model: type[_Object], value: Any) -> bool:
    try:
        _object_of(model, value)
    except (ValidationError, PydanticCustomError):
        return False
    return True


def _list_of(make: Callable[[Any], Any], what: str) -> Callable[[Any], Any]:
    """Return a maker of a list; a problem in a member says in which."""

    def made(value: Any) -> Any:
        if not isinstance(value, list):
            raise _wrong(f"{shown(value)} is not a list of {what}")
        members, wrong = [], list[InitErrorDetails]()
        for number, member in enumerate(value):
            try:
                members.append(make(member))
            except PydanticCustomError as error:
                wrong.append(InitErrorDetails(type=error, loc=(number,), input=member))
            except ValidationError as error:
                wrong += [
                    InitErrorDetails(type=_wrong(one["msg"]), loc=(number, *one["loc"]), input=one["input"])
                    for one in error.errors(include_url=False)
                ]
        if wrong:
            raise ValidationError.from_exception_data(what, wrong)
        return tuple(members)

    return made


# -- the models ------------------------------------------------------------------------------------------------------


class Resource(_Object):
    """Where an image is."""

    alter: _Flag = False
    uri: _Text = None
    path: _Text = None
    id: _Text = None
    type: _Text = None
    ext: _Text = None
    sprite: _Text = None


class FontOutline(_Object):
    """What surrounds letters, so that they can be read on any ground."""

    alter: _Flag = False
    size: _Number = None
    opacity: _Number = None
    color: _Color = None


class Font(_Object):
    """How letters look; `size` is in points."""

    alter: _Flag = False
    face: _Text = None
    size: _Number = None
    bold: _Condition = None
    italic: _Condition = None
    underline: _Condition = None
    color: _Color = None
    opacity: _Number = None
    outline: Annotated[FontOutline | Tree | None, _Made(_or_reference(lambda: FontOutline))] = None


class _StrokeStyling(_Object):
    alter: _Flag = False
    color: _Color = None
    opacity: _Number = None
    width: _Length = None


class StrokeLine(_StrokeStyling):
    """A line over (`center_line`) or under (`casing`) a stroke."""


_stroke_line = _or_reference(lambda: StrokeLine)


class _StrokeParts(_Object):
    casing: Annotated[StrokeLine | Tree | None, _Made(_stroke_line)] = None
    center_line: Annotated[StrokeLine | Tree | None, _Made(_stroke_line)] = Field(None, alias="centerLine")
    dash_pattern: _DashPattern = Field(None, alias="dashPattern")
    pattern: Annotated["Graphic | None", _Made(lambda value: _graphic(value))] = None


class Stroke(_StrokeParts, _StrokeStyling):
    """How a line or an outline is drawn."""


def _stroke(value: Any) -> Any:
    # The schema takes a stroke's colour, width and opacity, or an expression, and besides always the other members.
    if is_reference(value) and (_fits(_StrokeStyling, value) or not _fits(_StrokeParts, value)):
        return value
    return _object_of(Stroke, value)


class _Graphic(_Object):
    alter: _Flag = False
    position: _Place = None
    opacity: _Number = None


class Dot(_Graphic):
    """A round dot: its size is the width of its stroke, or ``size``, and so its colour."""

    type: Annotated[str, _must(lambda value: value == "Dot", "'Dot'")]
    stroke: Annotated[Stroke | Tree | None, _Made(_stroke)] = None


class Image(_Graphic):
    """A picture."""

    type: Annotated[str, _must(lambda value: value == "Image", "'Image'")]
    image: Annotated[Resource, _Made(lambda value: _object_of(Resource, value))]
    hot_spot: _Place = Field(None, alias="hotSpot")
    tint: _Color = None
    black_tint: _Color = Field(None, alias="blackTint")
    alpha_threshold: _Number = Field(None, alias="alphaThreshold")


class Text(_Graphic):
    """Letters."""

    type: Annotated[str, _must(lambda value: value == "Text", "'Text'")]
    text: _Text
    font: Annotated[Font | Tree | None, _Made(_or_reference(lambda: Font))] = None
    alignment: _Alignment = None


class ElementChange(_Object):
    """One graphic of several, by its place."""

    index: Annotated[int, _must(_is_whole, "a place in a list, from 0")]
    value: Annotated["Graphic", _Made(lambda value: _graphic(value))]


class Marker(_Graphic):
    """Graphics that are drawn together."""

    elements: Annotated["tuple[Graphic, ...] | ElementChange | list[Any]", _Made(lambda value: _elements(value))]


class LabelPlacement(_Object):
    """Which labels give way to which."""

    alter: _Flag = False
    priority: _Number = None
    min_spacing: _Number = Field(None, alias="minSpacing")
    max_spacing: _Number = Field(None, alias="maxSpacing")


class _Placed(_Object):
    placement: Annotated[LabelPlacement | Tree | None, _Made(_or_reference(lambda: LabelPlacement))] = None


class Label(_Placed, Marker):
    """Graphics that are drawn where there is room for them."""


def _label(value: Any) -> Any:
    _object_of(_Placed, value)
    made = _marker(value)
    return made if isinstance(made, Mapping) else _object_of(Label, value)


_marker = _or_reference(lambda: Marker)
# No expression: alone it would fit twice, as a graphic and as several.
Graphic = Dot | Image | Text | Marker | Tree
_GRAPHICS: Mapping[str, type[_Object]] = {"Dot": Dot, "Image": Image, "Text": Text}


def _graphic(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(f"{shown(value)} is not a graphic: a Dot, Image or Text, or an object with elements")
    reference, several = is_reference(value), "elements" in value and _fits(Marker, value)
    kind = value.get("type")
    model = _GRAPHICS.get(kind) if isinstance(kind, str) else None
    single = model is not None and _fits(model, value)
    if sum((reference, single, reference != several)) == 1:
        return _object_of(model if single and model else Marker, value) if single or several else value
    if reference or (single and several):
        raise _wrong(f"{shown(value)} is refused here by the official schema: it fits more than one of its choices")
    if model is not None:
        return _object_of(model, value)
    if "elements" in value:
        return _object_of(Marker, value)
    raise _wrong(
        f"{shown(value)} is not a graphic of the core of CartoSym-JSON: its type is one of Dot, Image and Text"
        + (" (shapes are of part 2, which the core schema refuses)" if isinstance(kind, str) else "")
    )


_graphics = _list_of(_graphic, "graphics")


def _elements(value: Any) -> Any:
    if isinstance(value, Mapping) and "index" in value and "value" in value:
        return _object_of(ElementChange, value)
    if not isinstance(value, list):
        raise _wrong(f'{shown(value)} is not a list of graphics, nor {{"index": …, "value": …}}')
    if not value:
        raise _wrong("an empty list of graphics is refused by the official schema; give one, or leave it out")
    expressions = all(bool(kinds(item) & Kind.LIST) != bool(kinds(item) & Kind.ONE_REFERENCE) for item in value)
    if not expressions:
        return _graphics(value)
    try:
        _graphics(value)
    except (ValidationError, PydanticCustomError):
        return value
    raise _wrong(f"{shown(value)} is refused here by the official schema, which takes it for graphics and expressions")


class Hatch(_Object):
    """Parallel lines in a fill."""

    width: _Length = None
    angle: _Number = None
    distance: _Length = None


class Stipple(_Object):
    """Dots in a fill."""

    ratio: _Number = None


class Fill(_Object):
    """How an area is filled."""

    alter: _Flag = False
    color: _Color = None
    opacity: _Number = None
    pattern: Annotated[Graphic | None, _Made(_graphic)] = None
    hatch: Annotated[Hatch | Tree | None, _Made(_or_reference(lambda: Hatch))] = None
    # What the schema says of it is misplaced, so that it takes anything that is no expression.
    dotpattern: Annotated[Any, _must(lambda value: not is_reference(value), "a pattern of dots")] = None
    stipple: Annotated[Stipple | Tree | None, _Made(_or_reference(lambda: Stipple))] = None


class Sun(_Object):
    """Where the light of hill shading comes from."""

    alter: _Flag = False
    azimuth: _Angle = None
    elevation: _Angle = None


class HillShading(_Object):
    """How relief is shaded."""

    alter: _Flag = False
    factor: _Number = None
    sun: Annotated[Sun | Tree | None, _Made(_or_reference(lambda: Sun))] = None
    color_map: _Map = Field(None, alias="colorMap")
    opacity_map: _Map = Field(None, alias="opacityMap")


class Symbolizer(_Object):
    """How data are drawn where a rule holds."""

    comment: _Words = Field("", alias="$comment")
    visibility: _Condition = None
    opacity: _Number = None
    z_order: _Number = Field(None, alias="zOrder")
    fill: Annotated[Fill | Tree | None, _Made(_or_reference(lambda: Fill))] = None
    stroke: Annotated[Stroke | Tree | None, _Made(_stroke)] = None
    marker: Annotated[Marker | Tree | None, _Made(_marker)] = None
    label: Annotated[Label | Tree | None, _Made(_label)] = None
    color_channels: _Color = Field(None, alias="colorChannels")
    alpha_channel: _Number = Field(None, alias="alphaChannel")
    single_channel: _Number = Field(None, alias="singleChannel")
    color_map: _Map = Field(None, alias="colorMap")
    opacity_map: _Map = Field(None, alias="opacityMap")
    hill_shading: Annotated[HillShading | Tree | None, _Made(_or_reference(lambda: HillShading))] = Field(
        None, alias="hillShading"
    )


class Rule(_Object):
    """A symbolizer, and when it holds; rules in it hold only where it does."""

    name: _Words = ""
    comment: _Words = Field("", alias="$comment")
    selector: _Condition = None
    symbolizer: Annotated[Symbolizer | None, _Made(lambda value: _object_of(Symbolizer, value))] = None
    nested_rules: Annotated["tuple[Rule, ...]", _Made(lambda value: _rules(value))] = Field((), alias="nestedRules")


_rules = _list_of(lambda value: _object_of(Rule, value), "rules")


class Metadata(_Object):
    """What a style says of itself."""

    comment: _Words = Field("", alias="$comment")
    title: _Words = ""
    description: _Words = ""
    authors: _WordList = ()
    keywords: _WordList = ()
    geo_data_classes: _WordList = Field((), alias="geoDataClasses")


def _is_include(value: Any) -> bool:
    return isinstance(value, str) or _is_list(value, 1, None, lambda part: isinstance(part, str))


class Style(_Object):
    """A style in CartoSym-JSON; `of` reads one from what people and programs write."""

    comment: _Words = Field("", alias="$comment")
    include: Annotated[Any, _must(_is_include, "the address of a style, or several")] = Field(None, alias="$include")
    metadata: Annotated[Metadata | None, _Made(lambda value: _object_of(Metadata, value))] = None
    styling_rules: Annotated[tuple[Rule, ...], _Made(_rules)] = Field(alias="stylingRules")
    variables: Annotated[Any, _must(lambda value: isinstance(value, Mapping), "an object")] = Field(
        None, alias="$variables"
    )

    @classmethod
    def of(cls, document: "Mapping[str, Any] | str | bytes | Style") -> Self:
        """Return a style from canonical CartoSym-JSON or the friendly dialect (see `geoetl.styles.dialect`).

        Raises:
            InvalidStyle: It is neither; the message has the first problem, with its JSON pointer, and how many more.
        """
        from geoetl.styles.dialect import normalised, speaks
        from geoetl.styles.reading import plain

        if isinstance(document, Style):
            document = document.document()
        given = plain(document)
        try:
            style = cls.model_validate(given)
            if not speaks(given):
                return style
        except ValidationError:
            pass
        canonical, changes = normalised(given)
        try:
            style = cls.model_validate(canonical)
        except ValidationError as error:
            raise _refusal(error) from None
        # Beside the fields: two styles are equal by what they say, not by how it was written before.
        style.__dict__["changes"] = changes
        return style

    @cached_property
    def changes(self) -> tuple[Finding, ...]:
        """What was changed to make it canonical when it was read."""
        return ()

    @cached_property
    def tree(self) -> Mapping[str, Any]:
        """The canonical document, to be read only; `document` gives one to keep."""
        return self.document()

    def document(self) -> dict[str, Any]:
        """Return the canonical document; `of` makes an equal style of it."""
        made = _plain(self)
        assert isinstance(made, dict)
        return made

    @property
    def title(self) -> str:
        """The title; empty where there is none."""
        return self.metadata.title if self.metadata else ""

    @property
    def description(self) -> str:
        """The description; empty where there is none."""
        return self.metadata.description if self.metadata else ""

    @property
    def keywords(self) -> tuple[str, ...]:
        """The keywords."""
        return self.metadata.keywords if self.metadata else ()

    def findings(self) -> tuple[Finding, ...]:
        """Return what is legal but doubtful, after what was changed when it was read."""
        from geoetl.styles.doubts import doubts

        return (*self.changes, *doubts(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Style) and self.tree == other.tree

    def __hash__(self) -> int:
        return hash((self.title, len(self.styling_rules)))

    def __copy__(self) -> Self:
        return super().__copy__()._without_tree()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return super().__deepcopy__(memo)._without_tree()

    def _without_tree(self) -> Self:
        # Pydantic copies first and changes then: what was worked out before would stay.
        self.__dict__.pop("tree", None)
        return self

    def _repr_html_(self) -> str:
        """Show the style in a notebook."""
        from geoetl.styles.layer import layer_meant
        from geoetl.styles.legend import legend_of

        rules = list(_listed(self.styling_rules))
        legend = legend_of(self, layer_meant(self.tree["stylingRules"]))
        listed = table(("Rule", "Where", "Draws"), rules)
        return heading(self.title or "Style", f"{len(rules)} rules") + listed + legend.svg()


def _listed(rules: Sequence[Rule], depth: int = 0) -> Iterator[tuple[str, str, str]]:
    for rule in rules:
        drawn = ", ".join(_plain(rule.symbolizer)) if rule.symbolizer else ""
        where = "everywhere" if rule.selector is None else shown(rule.selector)
        yield "\u2003" * depth + (rule.name or "—"), where, drawn
        yield from _listed(rule.nested_rules, depth + 1)


def _plain(value: Any) -> Any:
    """Return a model as new JSON, its members as they were given."""
    if isinstance(value, _Object):
        fields = type(value).model_fields
        given = {fields[name].alias or name: getattr(value, name) for name in fields if name in value.model_fields_set}
        return {key: _plain(member) for key, member in (given | dict(value.more)).items()}
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, list | tuple) else value


def _refusal(error: ValidationError) -> InvalidStyle:
    """Return what is wrong as our error: the first problem in full, and all of them for an answer over HTTP."""
    problems = [
        (pointer_of(one["loc"]), "it is missing" if one["type"] == "missing" else one["msg"])
        for one in error.errors(include_url=False)
    ]
    pointer, message = problems[0]
    more = len(problems) - 1
    also = f" There {'is one more problem' if more == 1 else f'are {more} more problems'}." if more else ""
    refused = InvalidStyle(
        f"{pointer or 'The style'}: {message}.{also}",
        hint="Styles are CartoSym-JSON, OGC 18-067r4; hex colours, plain widths and dash lists are accepted too.",
        field=pointer,
    )
    refused.errors = [{"field": pointer, "detail": message} for pointer, message in problems[:MAX_PROBLEMS]]
    return refused


def pointer_of(path: Sequence[str | int]) -> str:
    """Return a path of keys as a JSON pointer (RFC 6901)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
