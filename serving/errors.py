"""ServingError: a request that failed, with the status code that TensorFlow Serving gives it."""

# The names of gRPC's status codes, and the HTTP status that TensorFlow Serving's REST API gives for each. It gives 400
# for a failed precondition, such as a CORS preflight without an Origin.
HTTP_STATUS = {
    'OK': 200, 'CANCELLED': 499, 'UNKNOWN': 500, 'INVALID_ARGUMENT': 400, 'DEADLINE_EXCEEDED': 504, 'NOT_FOUND': 404,
    'ALREADY_EXISTS': 409, 'PERMISSION_DENIED': 403, 'RESOURCE_EXHAUSTED': 429, 'FAILED_PRECONDITION': 400,
    'ABORTED': 409, 'OUT_OF_RANGE': 400, 'UNIMPLEMENTED': 501, 'INTERNAL': 500, 'UNAVAILABLE': 503, 'DATA_LOSS': 500,
    'UNAUTHENTICATED': 401,
}


# gRPC sends a message in a header, percent-encoded: beyond 8 KiB clients may get another error in its place. Some
# messages quote what a client sent, which may be megabytes.
_MAX_MESSAGE_BYTES = 2048


class ServingError(Exception):
    """A request that failed. `code`: the name of gRPC's status code; `http_status`: REST's; `message`: the text, cut
    if it is long."""

    def __init__(self, code: str, message: str, http_status: int | None = None):
        message = _cut(message)
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = HTTP_STATUS[code] if http_status is None else http_status

    def __str__(self):
        return f'{self.code}: {self.message}'


def _cut(message: str) -> str:
    if len(message) <= _MAX_MESSAGE_BYTES // 4:  # a character has at most four bytes
        return message
    encoded = message.encode('utf-8', 'replace')
    return message if len(encoded) <= _MAX_MESSAGE_BYTES else (
        encoded[:_MAX_MESSAGE_BYTES].decode('utf-8', 'ignore') + '...')


def invalid(message: str) -> ServingError:
    """The most common error: the request itself is wrong."""
    return ServingError('INVALID_ARGUMENT', message)
