# Of any type: the stubs that type checkers bring know another release.
from typing import Any

def __getattr__(name: str) -> Any: ...
