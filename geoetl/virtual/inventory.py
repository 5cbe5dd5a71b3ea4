"""What is in a folder of NetCDF files: cubes, and what was left out and why."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from geoetl.core import html
from geoetl.core.errors import EmptyDataset, InvalidParameter, NotCMIP6, did_you_mean
from geoetl.core.identifiers import slug
from geoetl.runs.model import Result
from geoetl.virtual.cmip6 import Facets

# Rows of the notebook's table; the JSON holds all.
ROWS_SHOWN = 25


class CubeFiles(Result):
    """The files of one cube, in the order of time.

    Attributes:
        id: Id of the cube, and of its STAC item.
        title: For people.
        facets: CMIP6 facets without the time range; empty for a file taken as it is.
        variable: The variable that names the cube; None takes every variable of a grid.
        files: Relative to the source, or its name where the source is one file.
        bytes: Their sizes added up.
    """

    id: str
    title: str
    facets: dict[str, str]
    variable: str | None
    files: tuple[str, ...]
    bytes: int


class LeftOut(Result):
    """A file that belongs to no cube, and why."""

    file: str
    reason: str


class Inventory(Result):
    """Every file under a source: in a cube, or left out with its reason."""

    cubes: tuple[CubeFiles, ...]
    left_out: tuple[LeftOut, ...]

    def _repr_html_(self) -> str:
        files = sum(len(cube.files) for cube in self.cubes)
        said = f"{files} files in {len(self.cubes)} cubes, {len(self.left_out)} left out"
        shown = [(c.title, len(c.files), html.human_bytes(c.bytes)) for c in self.cubes[:ROWS_SHOWN]]
        if len(self.cubes) > ROWS_SHOWN:
            shown.append((f"… and {len(self.cubes) - ROWS_SHOWN} more", "", ""))  # type: ignore[arg-type]
        parts = [html.heading("Inventory", said), html.table(["cube", "files", "size"], shown)]
        if self.left_out:
            listed = [(left.file, left.reason) for left in self.left_out[:ROWS_SHOWN]]
            parts.append(html.table(["left out", "because"], listed))
        return "".join(parts)


def take_inventory(source: Path, *, naming: str, select: Mapping[str, list[str]]) -> Inventory:
    """Group the NetCDF files under a folder (or one file) into cubes.

    Args:
        source: Folder of any depth, or one file.
        naming: ``cmip6`` groups by the DRS, the latest version of a cube wins; ``file`` takes each file as a cube.
        select: Facets to keep, each with the values allowed; other cubes are left out.

    Raises:
        EmptyDataset: There is no NetCDF file, or the selection keeps none.
        NotCMIP6: `naming` is ``cmip6`` and no file follows the DRS.
        InvalidParameter: `select` names something that is not a facet.
    """
    for facet in select:
        if facet not in Facets.model_fields:
            raise InvalidParameter(
                f"'{facet}' is not a CMIP6 facet.", hint=did_you_mean(facet, Facets.model_fields), field="select"
            )
    if source.is_file():
        root, paths = source.parent, [source]
    else:
        root, paths = source, sorted(p for p in source.rglob("*") if p.is_file() and p.suffix == ".nc")
    if not paths:
        raise EmptyDataset(f"'{source.name}' holds no NetCDF file (.nc).", hint="Check the folder.", field="source")
    if naming == "file":
        return Inventory(cubes=_singles(root, paths), left_out=())
    groups: dict[str, list[tuple[Facets, Path]]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for path in paths:
        try:
            facets = Facets.parse(PurePosixPath(path))
        except NotCMIP6 as error:
            if len(paths) == 1:
                raise
            left_out.append(LeftOut(file=_relative(path, root), reason=error.detail))
            continue
        if all(str(getattr(facets, name)) in values for name, values in select.items()):
            groups[facets.cube_id].append((facets, path))
    if not groups and left_out:
        raise NotCMIP6(
            f"None of the {len(paths)} files in '{source.name}' follows the CMIP6 names. The first: "
            f"{left_out[0].reason}",
            hint="To take each file as a cube of its own, pass naming=file.",
            field="source",
        )
    if not groups:
        raise EmptyDataset(
            f"The selection {dict(select)} keeps none of the {len(paths)} files.",
            hint="Leave out a facet, or check its spelling.",
            field="select",
        )
    latest = _latest_versions(groups, root, left_out)
    cubes = [_cube(cube_id, members, root) for cube_id, members in sorted(latest.items())]
    return Inventory(cubes=tuple(cubes), left_out=tuple(left_out))


def _latest_versions(
    groups: Mapping[str, list[tuple[Facets, Path]]], root: Path, left_out: list[LeftOut]
) -> dict[str, list[tuple[Facets, Path]]]:
    by_dataset: dict[Facets, list[str]] = defaultdict(list)
    for cube_id, members in groups.items():
        by_dataset[members[0][0].model_copy(update={"version": None, "start": None, "end": None})].append(cube_id)
    kept = {}
    for cube_ids in by_dataset.values():
        newest = max(cube_ids, key=lambda cube_id: groups[cube_id][0][0].version or "")
        kept[newest] = groups[newest]
        for cube_id in set(cube_ids) - {newest}:
            left_out += [
                LeftOut(file=_relative(path, root), reason=f"Version {facets.version} is superseded by {newest}.")
                for facets, path in groups[cube_id]
            ]
    return kept


def _cube(cube_id: str, members: list[tuple[Facets, Path]], root: Path) -> CubeFiles:
    ordered = sorted(members, key=lambda member: (member[0].start or "", member[1].name))
    facets = ordered[0][0]
    named = facets.model_dump(exclude={"start", "end", "climatology"}, exclude_none=True)
    return CubeFiles(
        id=slug(cube_id),
        title=f"{facets.source_id} {facets.experiment_id} {facets.variable_id} {facets.table_id} {facets.member_id}",
        facets={**named, "member_id": facets.member_id},
        variable=facets.variable_id,
        files=tuple(_relative(path, root) for _, path in ordered),
        bytes=sum(path.stat().st_size for _, path in ordered),
    )


def _singles(root: Path, paths: list[Path]) -> tuple[CubeFiles, ...]:
    """Return one cube a file, named by its name, or by its folders too where names repeat.

    Raises:
        InvalidParameter: Two files would still get one id.
    """
    counts = Counter(slug(path.stem) for path in paths)
    ids = {
        path: slug(path.stem)
        if counts[slug(path.stem)] == 1
        else slug(".".join(path.relative_to(root).with_suffix("").parts))
        for path in paths
    }
    if repeated := [name for name, count in Counter(ids.values()).items() if count > 1]:
        raise InvalidParameter(
            f"Several files would become the item '{repeated[0]}'.", hint="Rename one of them.", field="source"
        )
    return tuple(_single(root, path, ids[path]) for path in paths)


def _single(root: Path, path: Path, cube_id: str) -> CubeFiles:
    return CubeFiles(
        id=cube_id,
        title=path.stem.replace("_", " "),
        facets={},
        variable=None,
        files=(_relative(path, root),),
        bytes=path.stat().st_size,
    )


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
