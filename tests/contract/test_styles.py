"""What a library of styles promises, on every database."""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geoetl.core.errors import Conflict, InputError, InvalidParameter, InvalidStyle, LimitExceeded, NotFound
from geoetl.styles import library as styles
from geoetl.styles.layer import StyledLayer
from geoetl.styles.layers import Layers, VectorFacts, dimensions_of, property_kind
from geoetl.styles.library import DEFAULT_ID, Outdated, StyleLibrary
from geoetl.styles.model import Style
from geoetl.styles.repository import StyleRepository
from tests.stac import BACK_ENDS, AnyCatalog, a_collection, an_item, prepare

SPAWN = multiprocessing.get_context("spawn")
PROCESSES, THREADS, ROUNDS = 2, 4, 5
# Starting Pythons on a busy machine takes this long at most.
PATIENCE_S = 240
VECTORS, IMAGES = "demo:lakes", "images"
COLUMNS = [{"name": "name", "type": "string"}]


def a_style(colour: str = "green", title: str | None = "Green", **more: Any) -> dict[str, Any]:
    """Return a small style in canonical CartoSym-JSON."""
    metadata = {"metadata": {"title": title}} if title else {}
    return {**metadata, "stylingRules": [{"name": "all", "symbolizer": {"fill": {"color": colour}}}], **more}


def above(depth: int) -> dict[str, Any]:
    """Return a condition of lakes that are deeper."""
    return {"op": ">", "args": [{"property": "depth"}, depth]}


@dataclass
class Shown:
    """What the pictures of coverages were told, in order."""

    told: list[tuple[str, str | None]] = field(default_factory=list)

    def __call__(self, layer: StyledLayer, style: Style | None) -> None:
        self.told.append((layer.id, style and style.title))


class _Lookup:
    """Looks up without a cache."""

    def __init__(self, catalog: AnyCatalog) -> None:
        self.item = catalog.item
        self.collection = catalog.collection
        self.version = catalog.version


def opened(place: tuple[str, Path], shown: Callable[[StyledLayer, Style | None], None] | None = None) -> StyleLibrary:
    """Open the library of a back end in a folder."""
    catalog = BACK_ENDS[place[0]](place[1])
    facts = VectorFacts(2, {"name": "text", "depth": "number"})
    layers = Layers(catalog, _Lookup(catalog), lambda collection, item: facts)
    proposed = Style.of(a_style("blue", "Proposed"))
    return StyleLibrary(StyleRepository(catalog.database), layers, lambda layer: proposed, shown or Shown())


@pytest.fixture(params=BACK_ENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Give a back end and the folder of a catalogue of it, with a vector item and a collection of rasters."""
    found = str(request.param), prepare(request.param, tmp_path, request)
    catalog = BACK_ENDS[found[0]](found[1])
    catalog.upsert_collection(a_collection())
    catalog.upsert_collection(a_collection(IMAGES))
    bands = [{"name": "height"}, {"name": "slope"}]
    assets = {"data": {"href": "https://example.org/a.tif", "type": "image/tiff", "bands": bands}}
    lakes = an_item("lakes", properties={"table:columns": COLUMNS, "title": "Lakes"})
    catalog.upsert_items([lakes, an_item("hill", collection=IMAGES, assets=assets)])
    return found


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def library(place: tuple[str, Path], shown: Shown) -> StyleLibrary:
    return opened(place, shown)


def catalog_of(place: tuple[str, Path]) -> AnyCatalog:
    return BACK_ENDS[place[0]](place[1])


def defaults(library: StyleLibrary, layer: str = VECTORS) -> list[str]:
    return [one.id for one in library.list(layer) if one.is_default]


# -- layers ----------------------------------------------------------------------------------------------------------


def test_layers_are_collections_of_coverages_and_vector_items(library: StyleLibrary) -> None:
    assert [(one.id, one.title, one.kind) for one in library.layers()] == [
        (IMAGES, "Collection images", "coverage"),
        (VECTORS, "Lakes", "vector"),
    ]
    lakes, images = library.layer(VECTORS), library.layer(IMAGES)
    assert (lakes.id, lakes.kind, lakes.dimensions) == (VECTORS, "vector", 2)
    assert dict(lakes.properties) == {"name": "text", "depth": "number"}
    assert (images.id, images.kind, images.dimensions) == (IMAGES, "coverage", None)
    assert dict(images.properties) == {"height": "number", "slope": "number"}


@pytest.mark.parametrize("layer", ["nowhere", "demo:nothing", "nowhere:lakes"])
def test_what_is_not_in_the_catalogue_is_no_layer(library: StyleLibrary, layer: str) -> None:
    for ask in (library.list, library.layer, library.default, library.propose, library.ensure_default):
        with pytest.raises(NotFound):
            ask(layer)
    with pytest.raises(NotFound):
        library.put(layer, "a", a_style())


def test_a_collection_of_vectors_leads_to_its_items(library: StyleLibrary) -> None:
    with pytest.raises(NotFound, match="belongs to one of its items") as raised:
        library.put("demo", "a", a_style())
    assert raised.value.hint == "For example 'demo:lakes'."
    assert library.list("demo") == ()


@pytest.mark.parametrize("layer", ["", ":", "a:", ":b", "a:b:c", "../etc", "a/b", "</script>", "a\0b", "x" * 300])
def test_an_id_that_is_none_is_refused(library: StyleLibrary, layer: str) -> None:
    with pytest.raises(InvalidParameter):
        library.list(layer)
    with pytest.raises(InvalidParameter):
        library.put(VECTORS, layer, a_style())


def test_a_layer_follows_the_catalogue(library: StyleLibrary, place: tuple[str, Path]) -> None:
    assert library.layer(IMAGES).properties
    assets = {"data": {"href": "https://example.org/a.tif", "type": "image/tiff", "bands": [{"name": "red"}]}}
    catalog_of(place).upsert_items([an_item("hill", collection=IMAGES, assets=assets)])
    assert dict(library.layer(IMAGES).properties) == {"red": "number"}


def test_dimensions_and_kinds_are_told_from_what_files_say() -> None:
    assert [dimensions_of(types) for types in (["Point", "MultiPoint"], ["LineString"], ["MultiPolygon"])] == [0, 1, 2]
    assert [dimensions_of(types) for types in ([], ["Point", "Polygon"], ["GeometryCollection"])] == [None] * 3
    schemas = ({"type": "integer"}, {"type": "string", "format": "date"}, {"type": "boolean"}, {"type": "object"})
    assert [property_kind(schema) for schema in schemas] == ["number", "time", "boolean", "text"]


# -- styles and versions ---------------------------------------------------------------------------------------------


def test_a_style_comes_back_as_it_was_given(library: StyleLibrary) -> None:
    document = a_style(title="Grün </script> ' \" 地")
    kept = library.put(VECTORS, "mine", document, author="alice", note="first")
    found = library.get(VECTORS, "mine")
    assert found == kept
    assert found.style.document() == Style.of(document).document()
    assert (found.summary.title, found.summary.author, found.version) == ("Grün </script> ' \" 地", "alice", 1)
    assert [vars(one) | {"created": 0} for one in library.versions(VECTORS, "mine")] == [
        {"number": 1, "author": "alice", "created": 0, "note": "first"}
    ]


def test_each_change_is_a_version_and_the_same_again_is_none(library: StyleLibrary) -> None:
    first = library.put(VECTORS, "mine", a_style("green"), author="alice")
    second = library.put(VECTORS, "mine", a_style("red"), author="bob", note="louder")
    assert library.put(VECTORS, "mine", a_style("red"), author="carol") == second
    assert [(one.number, one.author, one.note) for one in library.versions(VECTORS, "mine")] == [
        (2, "bob", "louder"),
        (1, "alice", None),
    ]
    assert library.version(VECTORS, "mine", 1) == first.style
    assert (second.version, second.summary.created) == (2, first.summary.created)
    assert first.etag != second.etag


def test_an_old_version_is_made_the_new_one(library: StyleLibrary) -> None:
    first = library.put(VECTORS, "mine", a_style("green"))
    library.put(VECTORS, "mine", a_style("red", title="Red"))
    restored = library.restore(VECTORS, "mine", 1, author="dora")
    assert (restored.version, restored.style, restored.summary.title) == (3, first.style, "Green")
    assert library.versions(VECTORS, "mine")[0].note == "Version 1 again"
    with pytest.raises(NotFound, match="no version 9"):
        library.restore(VECTORS, "mine", 9)
    with pytest.raises(NotFound, match="no version 9"):
        library.version(VECTORS, "mine", 9)


def test_what_is_no_style_is_refused_and_nothing_is_kept(library: StyleLibrary) -> None:
    for bad in ({}, {"stylingRules": 1}, {"stylingRules": [{"symbolizer": {"fill": {"color": "no such"}}}]}, b"no"):
        with pytest.raises(InvalidStyle):
            library.put(VECTORS, "mine", bad)
    assert library.list(VECTORS) == ()


def test_a_style_that_is_too_large_is_refused(library: StyleLibrary) -> None:
    rules = [{"name": "x" * 1000, "symbolizer": {"opacity": 1}}] * (styles.MAX_STYLE_BYTES // 1000 + 1)
    with pytest.raises((LimitExceeded, InvalidStyle)):
        library.put(VECTORS, "mine", {"stylingRules": rules})
    with pytest.raises(LimitExceeded, match="limit is 1,048,576"):
        library.put(VECTORS, "mine", b" " * (styles.MAX_STYLE_BYTES + 1))


def test_rules_that_each_change_at_a_scale_of_their_own_are_so_many(library: StyleLibrary) -> None:
    def scaled(count: int) -> dict[str, Any]:
        scales = [{"op": "<", "args": [{"sysId": "viz.sd"}, 1000 + number]} for number in range(count)]
        return {"stylingRules": [{"selector": one, "symbolizer": {"fill": {"color": "red"}}} for one in scales]}

    assert library.put(VECTORS, "mine", scaled(50)).version == 1
    with pytest.raises(LimitExceeded, match="200 rules, which differ in 201 intervals of scale"):
        library.put(VECTORS, "mine", scaled(200))


def test_a_layer_takes_so_many_styles_and_no_more(library: StyleLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(styles, "MAX_STYLES", 2)
    library.put(VECTORS, "a", a_style())
    library.put(VECTORS, "b", a_style())
    with pytest.raises(LimitExceeded, match="limit is 2"):
        library.put(VECTORS, "c", a_style())
    library.put(VECTORS, "b", a_style("red"))


def test_an_unknown_style_is_answered_with_the_nearest(library: StyleLibrary) -> None:
    library.put(VECTORS, "night", a_style())
    for ask in (library.get, library.versions, library.delete):
        with pytest.raises(NotFound, match="no style 'nigth'") as raised:
            ask(VECTORS, "nigth")
        assert raised.value.hint == "Did you mean 'night'?"
    with pytest.raises(NotFound):
        library.set_default(VECTORS, "nigth")
    with pytest.raises(NotFound):
        library.restore(VECTORS, "nigth", 1)


def test_a_dry_run_says_what_would_be_and_keeps_nothing(library: StyleLibrary, shown: Shown) -> None:
    would = library.put(IMAGES, "mine", a_style(), dry_run=True)
    assert (would.version, would.is_default) == (1, True)
    assert library.list(IMAGES) == ()
    kept = library.put(IMAGES, "mine", a_style())
    told = list(shown.told)
    assert library.put(IMAGES, "mine", a_style("red"), dry_run=True).version == 2
    assert library.delete(IMAGES, "mine", dry_run=True).id == "mine"
    assert library.set_default(IMAGES, None, dry_run=True) is None
    assert library.restore(IMAGES, "mine", 1, dry_run=True) == kept
    assert library.get(IMAGES, "mine") == kept
    assert shown.told == told
    with pytest.raises(Conflict):
        library.put(IMAGES, "mine", a_style(), only_new=True, dry_run=True)


def test_a_style_that_was_deleted_is_gone_with_its_versions(library: StyleLibrary) -> None:
    library.put(VECTORS, "mine", a_style())
    before = library.put(VECTORS, "mine", a_style("red"))
    assert library.delete(VECTORS, "mine").version == 2
    with pytest.raises(NotFound, match="It has none yet|no style"):
        library.get(VECTORS, "mine")
    again = library.put(VECTORS, "mine", a_style("red"))
    assert (again.version, len(library.versions(VECTORS, "mine"))) == (1, 1)
    assert again.etag != before.etag


# -- preconditions ---------------------------------------------------------------------------------------------------


def test_a_change_of_what_was_changed_meanwhile_is_refused(library: StyleLibrary) -> None:
    first = library.put(VECTORS, "mine", a_style("green"))
    second = library.put(VECTORS, "mine", a_style("red"), expected=first.etag)
    for change in (
        lambda: library.put(VECTORS, "mine", a_style("blue"), expected=first.etag),
        lambda: library.put(VECTORS, "mine", a_style("blue"), expected=[first.etag, "other"]),
        lambda: library.put(VECTORS, "mine", a_style("blue"), expected=[]),
        lambda: library.put(VECTORS, "mine", a_style("blue"), expected=""),
        lambda: library.put(VECTORS, "new", a_style("blue"), expected="*"),
        lambda: library.put(VECTORS, "new", a_style("blue"), expected=first.etag),
        lambda: library.restore(VECTORS, "mine", 1, expected=first.etag),
        lambda: library.delete(VECTORS, "mine", expected=first.etag),
        lambda: library.change_metadata(VECTORS, "mine", lambda _: {}, expected=first.etag),
    ):
        with pytest.raises(Outdated) as raised:
            change()
        assert raised.value.status == 412
    assert library.get(VECTORS, "mine") == second
    assert [one.id for one in library.list(VECTORS)] == ["mine"]
    library.put(VECTORS, "mine", a_style("blue"), expected=[first.etag, second.etag])
    library.put(VECTORS, "mine", a_style("black"), expected="*")
    library.put(VECTORS, "new", a_style(), expected="")


# -- defaults --------------------------------------------------------------------------------------------------------


def test_the_first_style_of_a_layer_is_its_default_and_another_can_be_chosen(library: StyleLibrary) -> None:
    assert library.default(VECTORS) is None
    for name in ("a", "b", "c"):
        library.put(VECTORS, name, a_style(title=name))
    assert defaults(library) == ["a"]
    chosen = library.set_default(VECTORS, "b")
    assert chosen is not None and chosen.id == "b"
    assert defaults(library) == ["b"]
    found = library.default(VECTORS)
    assert found is not None and (found.id, found.is_default) == ("b", True)
    assert library.set_default(VECTORS, None) is None
    assert (library.default(VECTORS), defaults(library)) == (None, [])
    library.put(VECTORS, "d", a_style(title="d"))
    assert defaults(library) == []


def test_of_a_deleted_default_the_oldest_other_takes_its_place(library: StyleLibrary) -> None:
    for name in ("b", "a", "c"):
        library.put(VECTORS, name, a_style(title=name))
    library.set_default(VECTORS, "c")
    library.delete(VECTORS, "c")
    assert defaults(library) == ["b"]
    library.delete(VECTORS, "a")
    assert defaults(library) == ["b"]
    library.delete(VECTORS, "b")
    assert library.default(VECTORS) is None


def test_the_database_itself_keeps_two_defaults_apart(library: StyleLibrary, place: tuple[str, Path]) -> None:
    library.put(VECTORS, "a", a_style())
    library.put(VECTORS, "b", a_style())
    database = catalog_of(place).database
    with pytest.raises(sa.exc.IntegrityError), database.begin() as connection:
        connection.execute(sa.text("update feature_collection_styles set is_default = true"))
    with pytest.raises(sa.exc.IntegrityError), database.begin() as connection:
        connection.execute(sa.text("update feature_collection_styles set style_id = 'a'"))


def test_a_layer_without_styles_is_given_one_and_what_is_there_stays(library: StyleLibrary) -> None:
    made = library.ensure_default(VECTORS, author="pipeline")
    assert made is not None and (made.id, made.title, made.is_default) == (DEFAULT_ID, "Proposed", True)
    assert library.ensure_default(VECTORS) is None
    library.delete(VECTORS, DEFAULT_ID)
    library.put(VECTORS, "mine", a_style())
    library.set_default(VECTORS, None)
    assert library.ensure_default(VECTORS) is None
    assert [one.id for one in library.list(VECTORS)] == ["mine"]
    assert library.propose(VECTORS).title == "Proposed"


def test_the_pictures_of_a_coverage_follow_its_default(library: StyleLibrary, shown: Shown) -> None:
    library.put(IMAGES, "a", a_style(title="A"))
    library.put(IMAGES, "b", a_style(title="B"))
    library.put(IMAGES, "a", a_style("red", title="A2"))
    library.set_default(IMAGES, "b")
    library.delete(IMAGES, "b")
    library.change_metadata(IMAGES, "a", lambda _: {"title": "A3"})
    library.delete(IMAGES, "a")
    assert shown.told == [(IMAGES, title) for title in ("A", "A2", "B", "A2", "A3", None)]
    library.put(VECTORS, "a", a_style())
    assert len(shown.told) == 6


# -- metadata --------------------------------------------------------------------------------------------------------


def test_metadata_of_the_style_itself_are_a_version_and_others_are_not(library: StyleLibrary) -> None:
    first = library.put(VECTORS, "mine", a_style(metadata={"title": "Green", "authors": ["A"]}))
    further = library.change_metadata(VECTORS, "mine", lambda present: {**present, "license": "CC0-1.0"})
    assert further.metadata() == {"title": "Green", "license": "CC0-1.0"}
    assert further.version == 1 and further.etag != first.etag
    titled = library.change_metadata(
        VECTORS, "mine", lambda present: {**present, "title": "Other", "keywords": ["x"]}, author="alice"
    )
    assert titled.metadata() == {"title": "Other", "keywords": ["x"], "license": "CC0-1.0"}
    assert (titled.version, titled.summary.title, titled.summary.author) == (2, "Other", "alice")
    assert titled.style.document()["metadata"] == {"authors": ["A"], "title": "Other", "keywords": ["x"]}
    emptied = library.change_metadata(VECTORS, "mine", lambda _: {})
    assert emptied.metadata() == {}
    assert emptied.style.document()["metadata"] == {"authors": ["A"]}
    assert library.change_metadata(VECTORS, "mine", lambda _: {}) == emptied


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"titel": "x"}, "/titel"),
        ({"title": 1}, "/title"),
        ({"license": ["x"]}, "/license"),
        ({"keywords": "x"}, "/keywords"),
        ({"keywords": [1]}, "/keywords"),
        ({"dates": {"creation": 1}}, "/dates"),
        ({"description": "x" * 100_000}, "body"),
    ],
)
def test_metadata_that_are_not_right_change_nothing(library: StyleLibrary, metadata: Any, field: str) -> None:
    kept = library.put(VECTORS, "mine", a_style())
    with pytest.raises((InputError, LimitExceeded)) as raised:
        library.change_metadata(VECTORS, "mine", lambda _: metadata)
    assert raised.value.field == field
    assert library.get(VECTORS, "mine") == kept


# -- encodings -------------------------------------------------------------------------------------------------------


def test_a_style_is_encoded_once_for_each_version_and_layer(library: StyleLibrary, place: tuple[str, Path]) -> None:
    library.put(VECTORS, "mine", a_style())
    first = library.encode(VECTORS, "mine", "cartosym")
    assert first.document == Style.of(a_style()).document()
    assert library.encode(VECTORS, "mine", "cartosym") is first
    library.put(VECTORS, "mine", a_style("red"))
    assert library.encode(VECTORS, "mine", "cartosym") is not first
    with pytest.raises(NotFound, match="no style encoder|There is no"):
        library.encode(VECTORS, "mine", "geocss")


def test_those_who_ask_for_one_encoding_or_legend_at_a_time_get_the_same(library: StyleLibrary) -> None:
    rules = [{"name": f"{number}", "selector": above(number), "symbolizer": {"opacity": 0.5}} for number in range(200)]
    stored = library.put(VECTORS, "mine", {"stylingRules": rules})
    start = threading.Barrier(THREADS)

    def ask(_: int) -> tuple[Any, ...]:
        start.wait(PATIENCE_S)
        return library.encoded(stored, "maplibre"), library.legend(stored)

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(ask, range(THREADS)))
    assert all(one is first for each in found for one, first in zip(each, found[0], strict=True))


def test_an_encoding_that_failed_is_tried_again(library: StyleLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = library.put(VECTORS, "mine", a_style())
    monkeypatch.setattr(Layers, "units", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        library.legend(stored)
    monkeypatch.undo()
    assert library.legend(stored) is library.legend(stored)


# -- layers that go --------------------------------------------------------------------------------------------------


def test_the_styles_of_a_removed_layer_wait_for_it_or_are_pruned(
    library: StyleLibrary, place: tuple[str, Path]
) -> None:
    library.put(VECTORS, "mine", a_style())
    catalog = catalog_of(place)
    lakes = dict(catalog.item("demo", "lakes"))
    assert library.orphans() == ()
    catalog.delete_item("demo", "lakes")
    for ask in (library.list, library.default):
        with pytest.raises(NotFound):
            ask(VECTORS)
    with pytest.raises(NotFound):
        library.get(VECTORS, "mine")
    assert library.orphans() == (VECTORS,)
    catalog.upsert_items([lakes])
    assert defaults(library) == ["mine"]
    catalog.delete_item("demo", "lakes")
    assert library.forget(VECTORS) == 1
    assert library.orphans() == ()
    catalog.upsert_items([lakes])
    assert library.list(VECTORS) == ()


# -- several at once -------------------------------------------------------------------------------------------------


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Do something in threads that begin together; what one raises is raised here."""
    failed: list[BaseException] = []
    start = threading.Barrier(count)

    def one(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def write_together(process: int, together: Barrier, place: tuple[str, Path]) -> None:
    """Add styles, choose defaults, and count up a shared style with the precondition that it is as it was read."""
    library = opened(place)
    together.wait()

    def work(thread: int) -> None:
        for number in range(ROUNDS):
            own = f"p{process}-t{thread}-{number}"
            library.put(VECTORS, own, a_style(title=own))
            library.set_default(VECTORS, own)
            assert len(defaults(library)) == 1
            while True:
                shared = library.get(VECTORS, "shared")
                count = int(shared.summary.title or 0) + 1
                try:
                    library.put(VECTORS, "shared", a_style(title=str(count)), expected=shared.etag)
                    break
                except Outdated:
                    continue

    in_threads(THREADS, work)


def test_writers_in_threads_and_processes_lose_no_update_and_leave_one_default(place: tuple[str, Path]) -> None:
    library = opened(place)
    library.put(VECTORS, "shared", a_style(title="0"))
    together = SPAWN.Barrier(PROCESSES)
    processes = [SPAWN.Process(target=write_together, args=(n, together, place)) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    written = PROCESSES * THREADS * ROUNDS
    assert library.get(VECTORS, "shared").summary.title == str(written)
    assert [one.number for one in library.versions(VECTORS, "shared")] == list(range(written + 1, 0, -1))
    assert len(library.list(VECTORS)) == written + 1
    assert len(defaults(library)) == 1


def test_of_those_who_make_the_first_style_one_makes_the_default(place: tuple[str, Path]) -> None:
    made: list[Any] = []
    library = opened(place)
    in_threads(8, lambda number: made.append(library.ensure_default(VECTORS)))
    assert len([one for one in made if one is not None]) == 1
    won: list[int] = []

    def add(number: int) -> None:
        try:
            library.put(VECTORS, "new", a_style(title=str(number)), only_new=True)
            won.append(number)
        except Conflict:
            pass

    in_threads(8, add)
    assert [library.get(VECTORS, "new").summary.title] == [str(number) for number in won]
