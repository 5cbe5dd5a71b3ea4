"""The programs that styles are judged by are the locked ones, and their bundles come from what stands beside them."""

import json

from tests.peers.build import FOLDER, NOTICE, TARGETS, banner


def test_the_lock_of_the_bundles_names_no_host() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_bytes())
    wanted = json.loads((FOLDER / "package.json").read_bytes())["dependencies"]
    notice = NOTICE.read_text(encoding="utf-8")
    assert all("resolved" not in package for package in lock["packages"].values())
    for name, version in wanted.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert f"{name} {version}" in notice


def test_the_bundles_are_made_from_what_stands_beside_them() -> None:
    for target, (source, *_) in TARGETS.items():
        with target.open(encoding="utf-8") as bundle:
            assert bundle.readline().rstrip() == banner(source), "Run: python -m tests.peers.build"
