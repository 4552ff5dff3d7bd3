"""What can run a compiled pipeline, and what each of them takes: file names, roots."""

import re
from typing import Literal

from model_code.errors import ConfigError, unknown

Target = Literal['kfp', 'vertex']
TARGETS: tuple[Target, ...] = ('kfp', 'vertex')
NAMES = {'kfp': 'Kubeflow Pipelines', 'vertex': 'Vertex AI'}
_ENDINGS = {'kfp': ('.yaml', '.yml'), 'vertex': ('.json',)}
_SCHEMES = {'kfp': ('gs', 's3', 'minio'), 'vertex': ('gs',)}
# Names of buckets, as S3 and MinIO have them and Google Cloud Storage does.
_S3_BUCKET = r'[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]'
_BUCKETS = {'gs': r'[a-z0-9](?!.*\.\.)[a-z0-9._-]{1,61}[a-z0-9]'}


def find(output: str, target: str | None = None) -> Target:
    """The target: the named one, or the one that files with this ending are for. Raises ConfigError if they differ."""
    if target is not None and target not in TARGETS:
        raise unknown('target', target, TARGETS)
    found = next((t for t in TARGETS if output.endswith(_ENDINGS[t])), None)
    if target is None and found is None:
        raise ConfigError(f'{output}: the name of a compiled pipeline must end in .yaml or .yml for Kubeflow Pipelines '
                          'or in .json for Vertex AI.')
    if target is not None and target != found:
        raise ConfigError(f'{output}: what {NAMES[target]} runs must end in {" or ".join(_ENDINGS[target])}.')
    return target or found


def check_root(root: str | None, target: Target) -> str:
    """The root without a slash at its end. Raises ConfigError if the target cannot reach such a root."""
    examples = {'kfp': 'minio://mlpipeline/polyvit, in the object store that Kubeflow Pipelines comes with, or '
                       's3://BUCKET/polyvit, gs://BUCKET/polyvit', 'vertex': 'gs://BUCKET/polyvit'}[target]
    if not root:
        raise ConfigError('A compiled pipeline needs --root: the folder for its artifacts, for the versions that are '
                          f'served and for trainings that are to go on. Such as {examples}.')
    match = re.fullmatch(r'(\w+)://([^/?#]+)(/[^?#]*)?', root)
    if not match or match[1] not in _SCHEMES[target]:
        raise ConfigError(f'--root {root}: {NAMES[target]} keeps artifacts only under '
                          f'{", ".join(f"{scheme}://" for scheme in _SCHEMES[target])} and the name of a bucket. '
                          f'Such as {examples}.')
    scheme, bucket, path = match[1], match[2], (match[3] or '').removesuffix('/')
    if not re.fullmatch(_BUCKETS.get(scheme, _S3_BUCKET), bucket):
        underscores = ', or underscores' if scheme in _BUCKETS else ''
        raise ConfigError(f'--root {root}: no bucket can be named {bucket}. Its name has 3 to 63 lower-case letters, '
                          f'digits, dots and hyphens{underscores}. Such as {examples}, with the name of your bucket.')
    if not re.fullmatch(r'(/[A-Za-z0-9._-]+)*', path) or {'.', '..'} & set(path.split('/')):
        raise ConfigError(f'--root {root}: after the bucket come folders, each of letters, digits and . _ -, none of '
                          f'them empty, "." or "..". Such as {examples}.')
    return root.removesuffix('/')


def store_url(url: str) -> str:
    """The URL by which our own code reads and writes what KFP knows as `url`: minio:// is S3 at another endpoint.

    KFP's launcher copies artifacts itself. Versions and unfinished trainings are no artifacts of it.
    """
    return re.sub('^minio://', 's3://', url)
