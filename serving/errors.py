"""ServingError: a request that failed, with the status code that TensorFlow Serving gives it."""

# The names of gRPC's status codes, and the HTTP status that TensorFlow Serving's REST API gives for each. It gives 400
# for a failed precondition, such as a CORS preflight without an Origin.
HTTP_STATUS = {
    'OK': 200, 'CANCELLED': 499, 'UNKNOWN': 500, 'INVALID_ARGUMENT': 400, 'DEADLINE_EXCEEDED': 504, 'NOT_FOUND': 404,
    'ALREADY_EXISTS': 409, 'PERMISSION_DENIED': 403, 'RESOURCE_EXHAUSTED': 429, 'FAILED_PRECONDITION': 400,
    'ABORTED': 409, 'OUT_OF_RANGE': 400, 'UNIMPLEMENTED': 501, 'INTERNAL': 500, 'UNAVAILABLE': 503, 'DATA_LOSS': 500,
    'UNAUTHENTICATED': 401,
}


class ServingError(Exception):
    """A request that failed. `code`: the name of gRPC's status code; `http_status`: REST's; `message`: the text."""

    def __init__(self, code: str, message: str, http_status: int | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = HTTP_STATUS[code] if http_status is None else http_status

    def __str__(self):
        return f'{self.code}: {self.message}'


def invalid(message: str) -> ServingError:
    """The most common error: the request itself is wrong."""
    return ServingError('INVALID_ARGUMENT', message)
