"""Paths behind a URL (gs://, s3://, hdfs://) told from those on this machine."""


def is_url(path: str) -> bool:
    return '://' in path
