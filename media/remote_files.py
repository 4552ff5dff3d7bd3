"""Files behind a URL (gs://, s3://, hdfs://), on any file system that Beam knows. No other module of media uses Beam.

Beam is imported when it is first needed, because that takes seconds. Each of its file systems raises its own errors.
"""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from model_code.errors import ConfigError


def use_options(arguments: Iterable[str]):
    """Gives Beam's file systems their options (--hdfs_host=..., --s3_region_name=...), as a pipeline would."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions
    FileSystems.set_options(PipelineOptions(list(arguments)))


def exists(url: str) -> bool:
    from apache_beam.io.filesystems import FileSystems
    return FileSystems.exists(url)


def open_file(url: str) -> BinaryIO:
    """Opens a file to read its bytes as they are. A bucket may report a missing file only when it is read."""
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems
    return FileSystems.open(url, compression_type=CompressionTypes.UNCOMPRESSED)


def list_files(root: str, max_depth: int) -> Iterator[tuple[str, int, int]]:
    """(path relative to root, size in bytes, modification time in ns) of each file, at most `max_depth` folders deep.

    Raises ConfigError for a folder with *, ? or [ in its name, if the file system has folders.
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
            # A bucket is listed whole. HDFS is listed folder by folder, and does not say which items are folders. They
            # have no bytes, as empty files.
            if has_folders and size == 0 and relative.count('/') <= max_depth and _is_folder(path):
                folders.append(path.rstrip('/') + '/')
            elif not path.endswith('/'):  # a bucket's mark of a folder
                yield relative, size, modified_ns


def _list(folder: str, has_folders: bool) -> Iterator[tuple[str, int, int]]:
    """(path, size in bytes, modification time in ns) of all that Beam lists for a folder (with '/'), maybe too much."""
    from apache_beam.io.filesystems import FileSystems
    # Beam takes *, ? and [ for a pattern wherever they are, and then lists the folder above.
    pattern = re.sub(r'[*?[]', '?', folder)
    if has_folders and pattern != folder:
        raise ConfigError(f'{folder} has *, ? or [ in its name. Beam cannot list such a folder. Rename it.')
    for metadata in FileSystems.match([pattern + '**'])[0].metadata_list:
        yield metadata.path, metadata.size_in_bytes, int((metadata.last_updated_in_seconds or 0) * 1e9)


def _is_folder(path: str) -> bool:
    try:
        return any(True for _ in _list(path.rstrip('/') + '/', True))
    except ConfigError:
        raise
    except Exception:  # a file, which cannot be listed
        return False
