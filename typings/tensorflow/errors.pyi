from typing import Any

class OpError(Exception):
    message: str
    error_code: int

def __getattr__(name: str) -> Any: ...
