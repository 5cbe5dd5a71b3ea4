"""How long is waited, how often is tried, and how much is taken."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How long is waited, how often is tried, and how much is taken.

    Attributes:
        connect_s: Until a connection stands, for each address of a host.
        silence_s: Without a byte.
        window_s, least_bytes_per_s: So much must come in a window of waiting, once the answer has begun.
        answer_s: For one question, with all that it is tried again.
        download_s: For one download, with all that it is tried again.
        attempts: That fail one after the other; a download that got further begins to count anew.
        backoff_s, longest_backoff_s: The first wait, and the longest; each is twice the one before, less some chance.
        longest_retry_after_s: A source that wants to be left alone for longer is not waited for.
        redirects: Followed.
        json_bytes: Of a JSON answer, unpacked.
        file_bytes: Of a download.
        sync_bytes: A download is made durable in steps of this size; a killed process loses less than one of them.
    """

    connect_s: float = 15
    silence_s: float = 60
    window_s: float = 30
    least_bytes_per_s: float = 2_000
    answer_s: float = 900
    download_s: float = 8 * 3600
    attempts: int = 5
    backoff_s: float = 1
    longest_backoff_s: float = 60
    longest_retry_after_s: float = 300
    redirects: int = 5
    json_bytes: int = 64 * 1024**2
    file_bytes: int = 32 * 1024**3
    sync_bytes: int = 16 * 1024**2
