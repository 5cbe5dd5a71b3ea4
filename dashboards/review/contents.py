"""Every file that a manifest makes public: what is copied, and the documents that are written out of it."""

from hashlib import sha256

from geoetl.publish.delivery import document_bytes, media_type_of
from geoetl.publish.model import Manifest, ManifestObject

#: The source of a document, which is written out of the manifest itself.
WRITTEN = "the manifest"


def everything(manifest: Manifest) -> tuple[ManifestObject, ...]:
    """Return every file that a manifest makes public: what is copied, and the documents that are written."""
    documents = []
    for target, document in manifest.documents.items():
        content = document_bytes(document)
        documents.append(
            ManifestObject(
                source=WRITTEN,
                target=target,
                bytes=len(content),
                sha256=sha256(content).hexdigest(),
                media_type=media_type_of(document),
                role="metadata",
            )
        )
    return (*manifest.objects, *documents)
