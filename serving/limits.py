"""The bounds on requests, each with its default. `polyvit serve` has a flag for each."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits on one request, and on all of them together."""
    max_body_bytes: int = 32 * 2**20
    """The size of a body, both compressed and decompressed."""
    max_buffered_bytes: int = 128 * 2**20
    """The size of all bodies in memory."""
    max_requests: int = 64
    """Predictions in progress, including those that wait for a worker."""
    workers: int = 2
    """Predictions that run at the same time."""
    timeout_s: float = 30.0
    """Seconds for a request, including the time to read its body."""
    max_json_depth: int = 64
    """Levels of nested lists and objects."""
