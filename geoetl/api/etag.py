"""Tags of answers that follow from the question and the state of the catalogue: a client that has one hears 304."""

import hashlib

# What was answered holds until the catalogue changes; a browser asks each time and mostly hears 304.
CACHING = "private, no-cache"


def tag_of(*asked: object) -> str:
    """Return the tag of an answer: a digest of the whole question, the catalogue's version among it."""
    return hashlib.blake2b(repr(asked).encode(), digest_size=16).hexdigest()


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Tell whether the client already has the answer of that tag (RFC 9110, 13.1.2)."""
    return if_none_match is not None and tag in if_none_match


def tagged(tag: str) -> dict[str, str]:
    """Return the headers of an answer with a tag."""
    return {"ETag": f'"{tag}"', "Cache-Control": CACHING}
