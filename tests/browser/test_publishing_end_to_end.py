"""From a registered item to a public address and back: two people in a browser, workers, and a plain web server."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import geopandas as gpd
import httpx
import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from playwright.sync_api import Page, expect

import geoetl
from geoetl.core.principal import Principal, Role, Via
from geoetl.platform import Platform
from geoetl.publish.model import Release, State
from geoetl.publish.verification import verify
from geoetl.runs.model import RunState
from tests import catalogued
from tests.browser.conftest import Enter, serving
from tests.publish.outside import CUBES, RASTERS, VECTORS, cube, hidden, raster, vector
from tests.publish.running import take_back
from tests.served import PASSWORD

ANA, BEN = "ana", "ben"
HILL, SHIRES = "hill", "shires"


@dataclass(frozen=True)
class Site:
    """A platform with two people and an item of each kind, its dashboard, and what serves its external zone.

    Attributes:
        platform: Nothing of it is public yet.
        sources: Folders inside from which the items were made.
        cube: Id of the virtual cube.
        dashboard: Address of the dashboard.
        web: Address of nginx, which has nothing but the external zone.
    """

    platform: Platform
    sources: tuple[Path, ...]
    cube: str
    dashboard: str
    web: str

    def who(self, name: str) -> Principal:
        """Return one of the people, as a notebook of theirs does."""
        user = self.platform.identity.user(name)
        return Principal(user.id, user.name, user.role, Via.LOCAL)

    def submit(self, collection: str, item: str) -> Release:
        """Let Ana submit an item."""
        return self.platform.publish.submit(self.who(ANA), collection, item, note="As agreed.")

    def work(self) -> set[RunState]:
        """Let a worker do what waits; return how those runs ended."""
        runs = self.platform.runs
        waiting = [run.id for run in runs.list(state=RunState.QUEUED)]
        self.platform.worker(slots=2).run(once=True)
        return {runs.get(one).state for one in waiting}

    def statuses(self, addresses: set[str]) -> set[int]:
        """Return with which statuses nginx answers."""
        with httpx.Client(trust_env=False) as client:
            return {client.get(address).status_code for address in addresses}


@pytest.fixture
def site(tmp_path: Path, web_serving: Callable[[Path], AbstractContextManager[str]]) -> Iterator[Site]:
    """Give it, with nothing submitted."""
    home = tmp_path / "home"
    with web_serving(home / "external") as web:
        platform = geoetl.connect(home, publish={"base_url": web})
        for name, role in ((ANA, Role.EDITOR), (BEN, Role.APPROVER)):
            platform.identity.add(name, role, PASSWORD)
        files, archive = home / "files", home / "archive"
        raster(platform, files, HILL)
        vector(platform, files, SHIRES)
        made = cube(platform, archive)
        with serving(platform) as dashboard:
            yield Site(platform, (files, archive), made["id"], dashboard, web)


def test_what_one_submits_and_another_approves_opens_by_its_public_address_until_it_is_withdrawn(
    site: Site, enter: Enter, tmp_path: Path
) -> None:
    releases = [site.submit(*one) for one in ((RASTERS, HILL), (VECTORS, SHIRES), (CUBES, site.cube))]
    months = _months(site.sources[1])
    ben = enter(BEN, f"{site.dashboard}/review")
    for release in releases:
        _approve(ben.page, site, release)
    assert _listed(site) == {}
    assert site.work() == {RunState.COMPLETED}

    expect(ben.page.locator(".state")).to_have_text("Published")
    ben.page.screenshot(path=tmp_path / "published.png")
    with hidden(site.platform, *site.sources):
        public = _listed(site)
        _check_values(public, site, months)
    addresses = {_address(site, one, target) for one in releases for target in _targets(one)}
    assert site.statuses(addresses) == {200}

    for release in releases[:2]:  # without the notebook, which one is enough for
        take_back(site.platform, site.platform.publish, release.collection, release.item, name=release.id)
    _withdraw(ben.page, site, releases[2])
    assert set(_listed(site)) == {site.cube}
    assert site.work() == {RunState.COMPLETED}
    assert site.statuses(addresses) == {404}
    assert _listed(site) == {}
    expect(ben.page.locator(".state")).to_have_text("Withdrawn")
    ben.page.screenshot(path=tmp_path / "withdrawn.png")
    ben.check(site.dashboard)

    log = site.platform.publish.audit
    people = {site.platform.identity.user(name).id: name for name in (ANA, BEN)}
    deeds = [(row.action, people.get(row.actor, "geoetl")) for row in log.rows() if row.release_id == releases[2].id]
    assert deeds == [
        ("create", ANA), ("submit", ANA), ("approve", BEN), ("begin_copy", "geoetl"), ("finish_copy", "geoetl"),
        ("withdraw", BEN),
    ]  # fmt: skip
    assert verify(log.rows(), log.head()).is_intact


def test_a_cube_that_leads_inside_is_refused_before_anything_of_it_is_listed(site: Site) -> None:
    publish = site.platform.publish
    careless = SimpleNamespace(pack=lambda item, path, base: SimpleNamespace(objects=(), assets={}))
    assembler = replace(publish.assembler, packer=careless)
    release = replace(publish, assembler=assembler).submit(site.who(ANA), CUBES, site.cube)
    seen = {"revision": release.revision, "manifest_digest": release.manifest_digest}
    publish.approve(site.who(BEN), release.id, **seen)  # type: ignore[arg-type]
    assert site.work() == {RunState.FAILED}
    failed = publish.get(release.id)
    assert failed.state is State.COPY_FAILED
    assert "a reference leads to another place than that of the release" in str(failed.last_error)
    assert _listed(site) == {}
    assert site.statuses({_address(site, release, target) for target in _targets(release)}) == {404}


def _approve(page: Page, site: Site, release: Release) -> None:
    page.goto(f"{site.dashboard}/review?release={release.id}&tab=files")
    for one in release.manifest.objects:
        expect(page.get_by_role("row", name=one.target).locator("code")).to_have_attribute("title", one.sha256)
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("alert").locator("code")).to_have_attribute("title", release.manifest_digest)
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator(".state")).to_have_text("Approved")


def _withdraw(page: Page, site: Site, release: Release) -> None:
    page.goto(f"{site.dashboard}/review?show=published&release={release.id}")
    page.get_by_role("button", name="Withdraw", exact=True).click()
    going = page.get_by_role("region", name="Files that go")
    for one in release.manifest.objects:
        expect(going).to_contain_text(f"{release.manifest.path}/{one.target}")
    page.get_by_label("Reason").fill("It is wrong.")
    page.get_by_role("button", name="Withdraw", exact=True).click()
    expect(page.get_by_text("The withdrawal waits: no worker is at work.")).to_be_visible()


def _targets(release: Release) -> set[str]:
    return {one.target for one in release.manifest.objects} | set(release.manifest.documents)


def _address(site: Site, release: Release, target: str) -> str:
    return f"{site.web}/{release.manifest.path}/{target}"


def _listed(site: Site) -> dict[str, pystac.Item]:
    """Return the items that the public catalogue leads to, by id."""
    if httpx.get(f"{site.web}/catalog.json", trust_env=False).status_code == 404:
        return {}
    catalogue = pystac.Catalog.from_file(f"{site.web}/catalog.json")
    return {item.id: item for item in catalogue.get_items(recursive=True)}


def _months(archive: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the values of the files that the cube was made of: array (time, lat, lon), K."""
    found = []
    for path in sorted(archive.glob("*.nc")):
        with xr.open_dataset(path, decode_times=False) as year:
            found.append(year["tas"].values)
    return np.concatenate(found)


def _check_values(public: dict[str, pystac.Item], site: Site, months: np.ndarray[Any, Any]) -> None:
    """Compare what strangers read with what was given in."""
    assert set(public) == {HILL, SHIRES, site.cube}
    hrefs = {name: {key: str(a.get_absolute_href()) for key, a in item.assets.items()} for name, item in public.items()}
    assert {href.startswith(f"{site.web}/") for found in hrefs.values() for href in found.values()} == {True}
    with rasterio.open(hrefs[HILL]["data"]) as hill:
        assert (hill.tags(ns="IMAGE_STRUCTURE")["LAYOUT"], hill.overviews(1) == []) == ("COG", True)
        np.testing.assert_array_equal(hill.read(1), catalogued.hill_values())
    shires = gpd.read_parquet(hrefs[SHIRES]["data"])
    assert shires.sort_values("people")["name"].tolist() == catalogued.shires()["name"].tolist()
    asset = public[site.cube].assets["references"]
    options = asset.to_dict()["xarray:open_kwargs"]
    with xr.open_dataset(hrefs[site.cube]["references"], decode_times=False, **options) as opened:
        np.testing.assert_array_equal(opened["tas"].values, months)
    # What kerchunk's readers do everywhere, without any option that the item gives.
    mapper = fsspec.filesystem("reference", fo=hrefs[site.cube]["references"], remote_protocol="http").get_mapper()
    assert {key.partition("/")[0] for key in mapper} >= {"tas", "time", "lat", "lon"}
    assert len(mapper["tas/0.0.0"]) > 0
