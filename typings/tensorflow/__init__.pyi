# Of any type, but for its errors: the stubs that type checkers bring know another release.
from typing import Any

from tensorflow import errors as errors

def __getattr__(name: str) -> Any: ...
