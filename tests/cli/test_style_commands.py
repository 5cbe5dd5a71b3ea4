"""Styles from the command line."""

import json
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

import geoetl
from geoetl.cli.main import app, guarded
from tests import catalogued
from tests.catalogued import IMAGES, PLACES, SHIRES

Ran = tuple[int, str, str]
LAYER = f"{PLACES}:{SHIRES}"


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Give a function that runs ``geoetl styles`` in this process, over a catalogue with one item of each kind."""
    catalogued.fill(geoetl.connect(), home / "shelf")

    def call(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["geoetl", "styles", *arguments])
        code = guarded(app)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def a_style(title: str = "Mine", colour: str = "green") -> dict[str, Any]:
    return {"metadata": {"title": title}, "stylingRules": [{"symbolizer": {"fill": {"color": colour}}}]}


def written(name: str, style: Any) -> str:
    Path(name).write_text(json.dumps(style))
    return name


def test_layers_and_styles_are_listed(run: Callable[..., Ran]) -> None:
    code, out, _ = run("list", "--json")
    layers = {one["id"]: one for one in json.loads(out)}
    assert (code, layers[LAYER]["kind"], layers[IMAGES]["kind"]) == (0, "vector", "coverage")
    assert (layers[LAYER]["styles"], layers[LAYER]["default"]) == (0, None)
    assert "geoetl styles propose" in run("list", LAYER)[1]
    assert run("put", LAYER, "mine", written("mine.json", a_style()))[0] == 0
    code, out, _ = run("list", LAYER, "--json")
    assert [(one["id"], one["default"], one["version"]) for one in json.loads(out)] == [("mine", True, 1)]
    assert "Mine" in run("list", LAYER)[1] and LAYER in run("list")[1]


def test_a_style_is_kept_shown_and_exported(run: Callable[..., Ran]) -> None:
    file = written("mine.json", a_style())
    assert "Would keep 'mine'" in run("put", LAYER, "mine", file, "--dry-run")[1]
    assert json.loads(run("list", LAYER, "--json")[1]) == []
    assert run("put", LAYER, "mine", file)[1] == f"Kept 'mine' of {LAYER}, version 1.\n"
    assert "like this already (version 1)" in run("put", LAYER, "mine", file)[1]
    code, out, _ = run("put", LAYER, "mine", written("red.json", a_style(colour="red")), "--note", "redder", "--json")
    assert (code, json.loads(out)["version"], json.loads(out)["changed"]) == (0, 2, True)
    shown = json.loads(run("show", LAYER, "--json")[1])
    assert (shown["id"], shown["style"]) == ("mine", a_style(colour="red"))
    assert json.loads(run("show", LAYER, "mine", "--version", "1", "--json")[1])["style"] == a_style()
    assert "version 2" in run("show", LAYER)[1]
    assert json.loads(run("export", LAYER)[1]) == a_style(colour="red")
    assert json.loads(run("export", LAYER, "mine", "-f", "mapbox")[1])["version"] == 8
    assert run("export", LAYER, "-f", "sld", "-o", "x.sld")[1] == "Written: x.sld\n"
    assert "StyledLayerDescriptor" in Path("x.sld").read_text()
    answer = json.loads(run("export", LAYER, "-f", "leaflet", "--json")[1])
    assert answer["lossy"] == [] and json.loads(answer["content"])["rules"] is not None


def test_a_style_is_read_from_standard_input(run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(json.dumps(a_style()).encode())))
    assert run("put", LAYER, "mine", "-")[0] == 0


def test_versions_are_listed_and_restored(run: Callable[..., Ran]) -> None:
    run("put", LAYER, "mine", written("a.json", a_style()))
    run("put", LAYER, "mine", written("b.json", a_style(colour="red")), "--note", "redder")
    assert [(one["number"], one["note"]) for one in json.loads(run("versions", LAYER, "mine", "--json")[1])] == [
        (2, "redder"),
        (1, None),
    ]
    assert "redder" in run("versions", LAYER)[1]
    assert run("versions", LAYER, "--restore", "1", "--dry-run")[1].startswith("Would be version 3")
    assert run("versions", LAYER, "--restore", "1")[1].startswith("Is now version 3")
    assert json.loads(run("export", LAYER)[1]) == a_style()
    assert run("versions", LAYER, "--restore", "9")[0] == 3


def test_the_default_is_told_and_chosen(run: Callable[..., Ran]) -> None:
    assert run("default", LAYER)[1] == "Default: none\n"
    for name in ("a", "b"):
        run("put", LAYER, name, written("a.json", a_style()))
    assert run("default", LAYER)[1] == "Default: 'a'\n"
    assert run("default", LAYER, "b", "--dry-run")[1] == "The default would be: 'b'\n"
    assert run("default", LAYER)[1] == "Default: 'a'\n"
    assert json.loads(run("default", LAYER, "b", "--json")[1]) == {"layer": LAYER, "default": "b", "changed": True}
    assert run("default", LAYER, "--none")[1] == "Default: none\n"
    assert run("default", LAYER, "b", "--none")[0] == 2
    assert run("show", LAYER)[0] == 3
    code, _, err = run("default", LAYER, "c")
    assert code == 3 and "no style 'c'" in err


def test_a_style_is_deleted(run: Callable[..., Ran]) -> None:
    run("put", LAYER, "a", written("a.json", a_style()))
    assert run("delete", LAYER, "a", "--dry-run")[1] == f"Would delete 'a' of {LAYER}, 1 versions.\n"
    assert json.loads(run("delete", LAYER, "a", "--json")[1])["deleted"] is True
    assert run("delete", LAYER, "a")[0] == 3


def test_the_styles_of_layers_that_are_gone_are_pruned(run: Callable[..., Ran]) -> None:
    run("put", LAYER, "a", written("a.json", a_style()))
    assert "is in the catalogue" in run("prune")[1]
    geoetl.connect().catalog.delete_item(PLACES, SHIRES)
    assert LAYER in run("prune", "--dry-run")[1]
    assert json.loads(run("prune", "--json")[1]) == {"layers": [LAYER], "deleted": True}
    assert json.loads(run("prune", "--json")[1]) == {"layers": [], "deleted": True}


def test_a_proposed_style_is_printed_and_kept_where_there_is_none(run: Callable[..., Ran]) -> None:
    code, out, _ = run("propose", LAYER)
    assert code == 0 and json.loads(out)["stylingRules"]
    assert json.loads(run("list", LAYER, "--json")[1]) == []
    assert run("propose", LAYER, "--keep", "--dry-run")[1] == f"Would keep 'default' of {LAYER}, its default.\n"
    assert run("propose", LAYER, "--keep")[1] == f"Kept 'default' of {LAYER}, its default.\n"
    code, _, err = run("propose", LAYER, "--keep")
    assert code == 4 and "stays as it is" in err
    assert run("propose", LAYER, "--keep", "--as", "other")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("list", "nowhere"), 3),
        (("list", "[red]x"), 2),
        (("show", LAYER, "none"), 3),
        (("put", LAYER, "mine", "no-such-file.json"), 3),
        (("put", LAYER, "mine", "bad.json"), 2),
        (("put", LAYER, "</script>", "good.json"), 2),
        (("export", LAYER, "good", "-f", "geocss"), 3),
    ],
)
def test_what_is_wrong_is_a_sentence_and_an_exit_code(
    run: Callable[..., Ran], arguments: tuple[str, ...], code: int
) -> None:
    written("bad.json", {"stylingRules": [{"symbolizer": {"fill": {"color": "no such"}}}]})
    run("put", LAYER, "good", written("good.json", a_style()))
    found, _, err = run(*arguments)
    assert found == code, err
    assert "Traceback" not in err and err.strip()
    assert json.loads(run(*arguments, "--json")[2])["code"]
