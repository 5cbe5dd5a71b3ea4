"""Make a version of what a handler prepared: items, what they are like, and what differs from the live version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoetl.core.errors import EmptyDataset, InvalidParameter, NotFound
from geoetl.core.findings import Finding
from geoetl.core.identifiers import check_id, digest
from geoetl.datasets.changes import Comparison
from geoetl.datasets.made import MadeItems, Record
from geoetl.datasets.model import Definition, ManagedDataset
from geoetl.datasets.profile import profile_of_features, profile_of_raster
from geoetl.datasets.protocol import DatasetHandler, Loader, Task
from geoetl.datasets.release import Fetched, MadeBefore, Prepared, PreparedRaster, Release, Unchanged
from geoetl.datasets.sanity import look
from geoetl.datasets.version import Candidate, ItemProfile, Profile
from geoetl.store.catalog.item import SCIENTIFIC, VERSION

# Of an item's properties, what its dataset says; a description may name the release.
_SAID = ("title", "keywords", "license", "attribution", "sci:citation")
_Item = tuple[dict[str, Any], ItemProfile, dict[str, Any] | None, tuple[Finding, ...]]


@dataclass(frozen=True)
class Making:
    """Makes one version.

    Args:
        dataset: Of which dataset.
        handler: Knows the source.
        task: What the handler is given.
        loader: Makes items of files.
        made: What this update has made before.
        owner: Of the objects.
        notebook: Portable address of the executed notebook.
    """

    dataset: ManagedDataset
    handler: DatasetHandler
    task: Task
    loader: Loader
    made: MadeItems
    owner: str
    notebook: str | None

    def candidate(self, release: Release, fetched: Fetched) -> Candidate:
        """Return the version, all of whose objects are in the zone.

        Args:
            release: What it is made of.
            fetched: Its files; a handler that learnt from them how the release is called says so in the memo.

        Raises:
            EmptyDataset: There is nothing in the release.
            GeoetlError: What was fetched cannot be used.
        """
        dataset, task, live = self.dataset, self.task, self.task.live
        told = fetched.memo.get("source_version")
        release = release.model_copy(update={"source_version": str(told)}) if told else release
        items: dict[str, dict[str, Any]] = {}
        profiles: list[ItemProfile] = []
        styles: dict[str, dict[str, Any]] = {}
        findings: list[Finding] = []
        taken: set[str] = set()
        for prepared in self.handler.prepare(task, release, fetched):
            item_id = self._item_id(prepared.suffix)
            # There are zones that do not tell small letters from capitals.
            if item_id.lower() in taken:
                raise InvalidParameter(f"The handler '{dataset.handler}' made '{item_id}' twice.", field="handler")
            taken.add(item_id.lower())
            item, profile, style, found = self._item(prepared, item_id)
            items[item_id] = _finished(item, dataset.definition, release)
            profiles.append(profile)
            findings += found
            if style is not None:
                layer = f"{dataset.target_schema}:{item_id}" if profile.index else dataset.target_schema
                styles[layer] = style
        if not items:
            raise EmptyDataset(f"The release {release.source_version} has nothing in it.", hint="Look at the source.")
        old, new = live.profile if live else None, Profile(items=tuple(profiles))
        findings += look(dataset.sanity, self.handler.required_columns, old, new)
        pair = digest([old.model_dump(mode="json") if old else None, new.model_dump(mode="json")])
        changes = Comparison(task.gate, task.zone).changes(
            old, new, task.workspace, f"managed/{dataset.dataset_id}/changes-{pair[:16]}.parquet", self.owner
        )
        return Candidate(
            dataset_id=dataset.dataset_id,
            release=release,
            based_on=live.number if live else None,
            items=tuple(items.values()),
            styles=styles,
            profile=new,
            changes=changes,
            findings=tuple(findings),
            memo=fetched.memo,
            is_same=live is not None
            and _shapes(live.profile) == _shapes(new)
            and _told(live.items) == _told(tuple(items.values()))
            and not changes.is_any,
        )

    def _item(self, prepared: Prepared, item_id: str) -> _Item:
        task, definition = self.task, self.dataset.definition
        if isinstance(prepared, Unchanged):
            return *self._present(item_id), None, ()
        if isinstance(prepared, MadeBefore):
            record = self.made.get(prepared.suffix)
            if record is None:
                raise NotFound(f"'{item_id}' is not there any more.", hint="Update again.", field="handler")
            return record.loaded.item, record.profile, record.style, record.loaded.findings
        path = self._file(prepared.file)
        if isinstance(prepared, PreparedRaster):
            loaded = self.loader.raster(prepared, path, definition, item_id, self.notebook)
            profile = profile_of_raster(loaded)
        else:
            loaded = self.loader.vector(prepared, path, definition, item_id, self.notebook)
            profile = profile_of_features(loaded, prepared, task.gate, task.zone, task.workspace, self.owner)
        path.unlink()
        loaded = loaded.model_copy(update={"findings": (*prepared.findings, *loaded.findings)})
        if isinstance(prepared, PreparedRaster) and prepared.content:
            self.made.keep(
                Record(
                    suffix=prepared.suffix,
                    content=prepared.content,
                    loaded=loaded,
                    profile=profile,
                    style=prepared.style,
                )
            )
        return loaded.item, profile, prepared.style, loaded.findings

    def _item_id(self, suffix: str) -> str:
        if suffix and not suffix.startswith("_"):
            raise InvalidParameter(
                f"The handler '{self.dataset.handler}' made an item that ends in '{suffix[:60]}'.",
                hint="What follows the name of the dataset begins with '_': whatever else is another dataset's.",
                field="handler",
            )
        return check_id(f"{self.dataset.target_table_name}{suffix}", "handler")

    def _file(self, name: str) -> Path:
        """Return a file that the handler has made; it is removed when it was taken."""
        path, workspace = (self.task.workspace / name).resolve(), self.task.workspace.resolve()
        if not path.is_relative_to(workspace) or not path.is_file():
            raise InvalidParameter(
                f"The handler '{self.dataset.handler}' has made no file '{Path(name).name[:100]}' in its workspace.",
                hint="This is a fault of the handler; please report it.",
                field="handler",
            )
        return path

    def _present(self, item_id: str) -> tuple[dict[str, Any], ItemProfile]:
        live = self.task.live
        profile = live.profile.item(item_id) if live else None
        item = next((item for item in live.items if item["id"] == item_id), None) if live else None
        if profile is None or item is None:
            raise NotFound(f"The live version of '{self.dataset.dataset_id}' has no '{item_id}'.", field="handler")
        return item, profile


def _shapes(profile: Profile) -> list[tuple[str, dict[str, str]]]:
    return [(item.item, item.columns) for item in profile.items]


def _told(items: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Return what items say that is not in their data: whom to name, under which terms, how they are called."""
    terms = [[link["href"] for link in item["links"] if link["rel"] == "license"] for item in items]
    said = [[item["properties"].get(name) for name in _SAID] for item in items]
    return [[item["id"], *links, *words] for item, links, words in zip(items, terms, said, strict=True)]


def _finished(item: Mapping[str, Any], definition: Definition, release: Release) -> dict[str, Any]:
    """Return an item with what is known of its dataset: version, licence, whom to name.

    Sources: STAC extensions version 1.2.0 and scientific 1.0.0.
    """
    said = {
        "version": release.source_version,
        "license": definition.license,
        "attribution": definition.attribution,
        "sci:citation": definition.citation,
        "geoetl:dataset": definition.dataset_id,
    }
    properties = {**item["properties"], **{name: value for name, value in said.items() if value}}
    extensions = [*item["stac_extensions"], VERSION, *([SCIENTIFIC] if definition.citation else [])]
    links = [link for link in item["links"] if link["rel"] != "license"]
    if definition.terms_url:
        links.append({"rel": "license", "href": definition.terms_url, "title": "Terms"})
    unique = list(dict.fromkeys(extensions))
    return {**item, "stac_extensions": unique, "properties": properties, "links": links}
