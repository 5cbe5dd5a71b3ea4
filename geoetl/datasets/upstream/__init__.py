"""HTTP to outside sources, and nothing more of it than they need: ask, sign in, fetch a file.

`Upstream` is the front. What can go wrong has an error of its own (``errors``), and no credential is ever in one.

``client`` asks patiently · ``asker`` signs and follows redirects · ``credentials``, ``oauth`` who asks · ``addresses``
what may be asked · ``exchange`` and ``wire`` one answer, and how fast · ``answers`` what it means · ``transfer`` and
``part`` a file over many answers · ``media`` what it is · ``stamp`` its version.
"""

from geoetl.datasets.release import FetchedFile
from geoetl.datasets.upstream.client import Upstream
from geoetl.datasets.upstream.credentials import Auth, Bearer
from geoetl.datasets.upstream.errors import (
    AccessRefused,
    AddressRefused,
    Cancelled,
    CredentialMissing,
    CredentialRefused,
    RateLimited,
    SourceChanged,
    SourceRefused,
    SourceUnavailable,
)
from geoetl.datasets.upstream.limits import Limits
from geoetl.datasets.upstream.media import Media
from geoetl.datasets.upstream.oauth import PasswordGrant
from geoetl.datasets.upstream.stamp import Stamp

__all__ = [
    "AccessRefused",
    "AddressRefused",
    "Auth",
    "Bearer",
    "Cancelled",
    "CredentialMissing",
    "CredentialRefused",
    "FetchedFile",
    "Limits",
    "Media",
    "PasswordGrant",
    "RateLimited",
    "SourceChanged",
    "SourceRefused",
    "SourceUnavailable",
    "Stamp",
    "Upstream",
]
