"""Tells URLs (gs://, s3://, hdfs://) from paths on this machine."""

import os


def is_url(path: str) -> bool:
    return '://' in path


def absolute(path: str) -> str:
    """The path with ~ expanded, and taken from the current folder if it is relative. A URL, or '', stays as it is."""
    return path if not path or is_url(path) else os.path.abspath(os.path.expanduser(path))
