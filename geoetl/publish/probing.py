"""Open what was published as strangers do, before anything leads to it: a child process that has no way inside."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoetl.core.errors import Unavailable, VerificationFailed
from geoetl.core.findings import Finding, Severity
from geoetl.publish.documents import check_item, check_style, is_of_the_web
from geoetl.publish.model import Manifest
from geoetl.store.zones import Zone

# All of a release; each of its assets takes a second or two.
MAX_S = 300.0
_ANSWER_S = 5.0
# Nothing else of this process's environment gets into the child: neither settings nor secrets.
_KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy")
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
_WORDS = {
    "not_readable": "cannot be opened from outside",
    "not_followed": "was not opened: the public address of the external zone does not answer yet",
}


@dataclass(frozen=True)
class Probe:
    """Opens what was published.

    Args:
        zone: The external zone.
        base_url: Its public address, or its own URL; without a slash at its end.
        inside: Folders that may not be opened: the root of the internal zone, and whatever else is read inside.
    """

    zone: Zone
    base_url: str
    inside: tuple[str, ...]

    def look(self, manifest: Manifest) -> tuple[Finding, ...]:
        """Open every asset of a release that is in place, and return what is wrong; errors for what cannot be used.

        It goes by the public address where that answers, else by the external zone itself, where that is a folder.

        Raises:
            Unavailable: The child cannot be started, or takes too long.
        """
        found = list(self._led_inside(manifest))
        web = f"{self.base_url}/{manifest.path}"
        answers = is_of_the_web(self.base_url) and _answers(f"{web}/{manifest.item}.json")
        root = self.zone.root
        if not answers and root is None:
            return (*found, _not_opened(manifest))
        place = web if answers else f"{root}/{manifest.path}"
        # Without an address of the web, references lead to the folder itself.
        is_local = root is not None and not is_of_the_web(self.base_url)
        question = {"place": place, "base": place if is_local else web, "can_follow": answers or is_local}
        said = self._ask({**question, "item": manifest.item})
        return (*found, *(self._told(one) for one in said["findings"]))

    def _led_inside(self, manifest: Manifest) -> list[Finding]:
        """Return where the documents lead to a place inside."""
        found = []
        for target, document in manifest.documents.items():
            try:
                if target == f"{manifest.item}.json":
                    check_item(document, self.inside)
                else:
                    check_style(document, self.inside, target)
            except VerificationFailed as error:
                found.append(_error("leads_inside", error.detail, target))
        return found

    def _told(self, said: dict[str, str]) -> Finding:
        why = f" ({said['why']})" if said["why"] else ""
        return Finding(
            severity=Severity(said["severity"]),
            code=said["code"],
            message=f"'{said['subject']}' {_WORDS[said['code']]}{why}.",
            subject=said["subject"],
            remedy="See whether the address in GEOETL_PUBLISH__BASE_URL serves the external zone.",
        )

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        outside = str(self.zone.root) if self.zone.root else None
        asked = {**question, "outside": outside, "inside": list(self.inside)}
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {
            "HOME": "/nonexistent",
            "PYTHONPATH": _PACKAGE_PARENT,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        try:
            done = subprocess.run(
                # -P: nothing in the working folder is taken for a module.
                [sys.executable, "-P", "-m", "geoetl.publish.looking"],
                input=json.dumps(asked).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                timeout=MAX_S,
                check=True,
            )
            said: dict[str, Any] = json.loads(done.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            raise Unavailable(
                "What was published could not be looked at: the process that does so ended, or took too long.",
                hint="Check that the machine has memory left and the external zone answers, then try again.",
            ) from None
        return said


def _answers(url: str) -> bool:
    try:
        # Only ever one of http or https, as the setting allows no other.
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _not_opened(manifest: Manifest) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        code="not_opened",
        message=f"'{manifest.item}' was not opened: the external zone has no public address that answers.",
        subject=manifest.item,
        remedy="Set GEOETL_PUBLISH__BASE_URL to the address at which the external zone is served.",
    )


def _error(code: str, message: str, subject: str) -> Finding:
    return Finding(severity=Severity.ERROR, code=code, message=message, subject=subject)
