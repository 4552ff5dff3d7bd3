"""What a client asks of a server, by whichever protocol."""

import typing

import numpy as np

if typing.TYPE_CHECKING:
    from serving.addresses import Address


class Version(typing.NamedTuple):
    """number, and state: 'LOADING', 'AVAILABLE', 'END', ... error: why it cannot be loaded."""
    number: int
    state: str
    error: str


class Metadata(typing.NamedTuple):
    """version: of the model that answers. signatures: name -> the names of its inputs and of its outputs, sorted."""
    version: int
    signatures: dict[str, tuple[list[str], list[str]]]


class Transport(typing.Protocol):
    """address: the model, which may be set anew. Each request has the timeout that the transport was made with.

    All raise ServingError with what the server says, and serving.failures where there is no answer.
    """
    address: 'Address'

    def versions(self, seconds: float) -> list[Version]:
        """The state of each version, newest first. Asks once, for at most so many seconds, and the timeout."""
        ...

    def metadata(self) -> Metadata: ...

    def predict(self, signature: str, feature: str, media: list, outputs: list[str]) -> dict[str, np.ndarray]:
        """The outputs of a signature: name -> [N, ...]; strings are str.

        feature: the name of its input. media: N strings, or N lists of as many strings. outputs: all of its names.
        """
        ...

    def close(self): ...
