"""Tells URLs (gs://, s3://, hdfs://) from paths on this machine."""


def is_url(path: str) -> bool:
    return '://' in path
