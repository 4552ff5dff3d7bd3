"""Files behind a URL (gs://, s3://, hdfs://), on any file system that Beam opens. No other module of media knows Beam.

Beam is imported when it is first needed, which takes seconds. Each of its file systems raises errors of its own.
"""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from model_code.errors import ConfigError


def use_options(arguments: Iterable[str]):
    """Gives Beam's file systems their options (--hdfs_host=..., --s3_region_name=...), as its pipelines give them."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions
    FileSystems.set_options(PipelineOptions(list(arguments)))


def exists(url: str) -> bool:
    from apache_beam.io.filesystems import FileSystems
    return FileSystems.exists(url)


def open_file(url: str) -> BinaryIO:
    """The file to read in binary, its bytes as they are. A bucket may say that there is none only when it is read."""
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems
    return FileSystems.open(url, compression_type=CompressionTypes.UNCOMPRESSED)


def list_files(root: str, max_depth: int) -> Iterator[tuple[str, int, int]]:
    """(path relative to root, bytes, time of the last change in ns) of each file at most `max_depth` folders below.

    Raises ConfigError for a folder with *, ? or [ in its name on a file system that has folders.
    """
    from apache_beam.io.filesystems import FileSystems
    root, seen = root.rstrip('/') + '/', set()
    has_folders = FileSystems.get_filesystem(root).has_dirs()
    folders = [root]
    while folders:
        folder = folders.pop()
        for path, size, modified_ns in _list(folder, has_folders):
            relative = path[len(root):]
            if not path.startswith(folder) or path in seen or not relative.strip('/'):
                continue
            seen.add(path)
            # A bucket is listed with all that is in it. HDFS is listed folder by folder, and does not say which of
            # what it lists are folders; they have no bytes.
            if has_folders and size == 0 and relative.count('/') <= max_depth and _is_folder(path):
                folders.append(path.rstrip('/') + '/')
            elif not path.endswith('/'):  # so buckets mark folders
                yield relative, size, modified_ns


def _list(folder: str, has_folders: bool) -> Iterator[tuple[str, int, int]]:
    """(path, bytes, time of change in ns) of what Beam lists below a folder that ends in '/', and maybe of others."""
    from apache_beam.io.filesystems import FileSystems
    # Beam takes *, ? and [ for a pattern, wherever they stand, and then lists the folder above.
    pattern = re.sub(r'[*?[]', '?', folder)
    if has_folders and pattern != folder:
        raise ConfigError(f'{folder} has *, ? or [ in its name; Beam cannot list such a folder. Rename it.')
    for m in FileSystems.match([pattern + '**'])[0].metadata_list:
        yield m.path, m.size_in_bytes, int((m.last_updated_in_seconds or 0) * 1e9)


def _is_folder(path: str) -> bool:
    try:
        return any(True for _ in _list(path.rstrip('/') + '/', True))
    except ConfigError:
        raise
    except Exception:  # a file: it can't be listed
        return False
