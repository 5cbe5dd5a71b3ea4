"""What can be wrong with an outside source, each with its own code.

None of these holds an address with its query, what a server wrote, or the error of a library: all three may hold
credentials.
"""

from geoetl.core.errors import ConfigurationError, Conflict, InputError, Unavailable


class AddressRefused(InputError):
    """An address, or where it leads to, is none that may be fetched from."""

    code = "address_not_allowed"
    title = "This address may not be fetched from"
    status = 422


class SourceUnavailable(Unavailable):
    """A source cannot be reached, is too slow, broke off, or has trouble of its own.

    Attributes:
        after_s: When it wants to be asked again, seconds from now; None where it did not say.
    """

    code = "source_unavailable"
    title = "The source is not available now"
    after_s: float | None = None


class RateLimited(SourceUnavailable):
    """A source wants fewer requests (429)."""

    code = "source_rate_limited"
    title = "The source wants fewer requests"


class SourceRefused(ConfigurationError):
    """A source answers, but will not give this; the same request is refused again."""

    code = "source_refused"
    title = "The source refuses"
    status = 503  # whoever asks us can do nothing about it; the operator can


class CredentialMissing(SourceRefused):
    """A source is not asked, because a credential that it needs is not set here."""

    code = "credential_missing"
    title = "A credential is not set"


class CredentialRefused(SourceRefused):
    """A source does not know who asks (401)."""

    code = "credential_refused"
    title = "The credential was refused"


class AccessRefused(SourceRefused):
    """A source may know who asks, but does not give this (403); some say so of files that are not there."""

    code = "access_refused"
    title = "The source does not give access"


class SourceChanged(Conflict):
    """A source has another file now than when it was checked."""

    code = "source_changed"
    title = "The source changed"


class Cancelled(Conflict):
    """Somebody wants it to end."""

    code = "cancelled"
    title = "It was cancelled"
