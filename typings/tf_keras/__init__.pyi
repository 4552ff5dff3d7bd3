# Of any type: it has no annotations, and its arguments' defaults mislead.
from typing import Any

def __getattr__(name: str) -> Any: ...
