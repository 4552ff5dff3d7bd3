"""A ShardPlan in files: the driver writes them, Beam's workers read them."""

import base64
import itertools
import json
import os
from collections.abc import Iterator

from media.shards import Shard, ShardPlan
from model_code import file_io

FILE_SHARDS = 256  # of one file: 256 shards of images take some 8 MB


def write(plan: ShardPlan, folder: str) -> list[str]:
    """Writes the plan into temporary files of the folder. Returns their paths. Holds one of them in memory."""
    paths, shards = [], iter(plan)
    while some := list(itertools.islice(shards, FILE_SHARDS)):
        paths.append(os.path.join(folder, f'{file_io.TEMPORARY}plan-{len(paths):05d}'))
        file_io.write(paths[-1], ''.join(json.dumps([*shard[:3], base64.b64encode(shard.entries).decode()]) + '\n'
                                         for shard in some))
    return paths


def read(path: str) -> Iterator[Shard]:
    """The shards of one of these files."""
    for line in file_io.read_text(path).splitlines():
        split, index, count, entries = json.loads(line)
        yield Shard(split, index, count, base64.b64decode(entries))
