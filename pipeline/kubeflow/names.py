"""What Kubernetes takes as names of variables, labels, secrets and claims, and where a volume can be mounted."""

import posixpath
import re

from model_code.errors import ConfigError

_LABEL = r'[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?'
_SUBDOMAIN = r'[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*'  # RFC 1123
# Of images, of what Kubernetes mounts itself, and of the launcher of Kubeflow Pipelines.
_SYSTEM = ('/bin', '/boot', '/dev', '/etc', '/gcs', '/home/polyvit', '/kfp-launcher', '/lib', '/lib64', '/minio',
           '/opt/apache', '/opt/polyvit', '/proc', '/root', '/run', '/s3', '/sbin', '/sys', '/tmp', '/usr', '/var/lib',
           '/var/run', '/var/tmp')
# Names of variables that hold a secret. Those of files and such (..._FILE, ..._PATH) hold none.
_SECRET = re.compile('(PASSWORD|PASSWD|TOKEN|API_?KEY|ACCESS_KEY|PRIVATE_KEY|ACCESS_KEY_ID)$'
                     '|SECRET(?!.*_(FILE|PATH|DIR|NAME|ARN|ID)$)', re.IGNORECASE)


def check_variable(name: str, where: str):
    """Raises ConfigError if it is no name of an environment variable."""
    if not re.fullmatch('[A-Za-z_][A-Za-z0-9_]*', name):
        raise ConfigError(f'{where} has {name!r}; the name of a variable has letters, digits and underscores, and '
                          'begins with no digit.')


def check_plain(name: str, value: str, where: str):
    """Raises ConfigError if a variable holds a secret, which the compiled pipeline would show."""
    if holds_secret(name) or has_password(value):
        raise ConfigError(
            f'{where} has {name}, a secret that everybody could read in the compiled pipeline. Put it into a secret of '
            f"Kubernetes and write env_from_secret={{'{name}': 'SECRET/KEY'}}. (Vertex AI has none: give its service "
            'account the rights.)')


def holds_secret(variable: str) -> bool:
    """Whether a variable's name says that its value is a secret, as AWS_SECRET_ACCESS_KEY and HF_TOKEN do."""
    return bool(_SECRET.search(variable))


def has_password(url: str) -> bool:
    """Whether it is a URL with a user and a password in it."""
    return bool(re.search(r'://[^/?#\s]*:[^/?#\s]*@', url))


def check_label(key: str, value: str, where: str):
    """Raises ConfigError if Kubernetes has no such label."""
    prefix, slash, name = key.rpartition('/')
    if not re.fullmatch(_LABEL, name) or (slash and not is_subdomain(prefix)):
        raise ConfigError(f"{where} has {key!r}; a label's key is a name of at most 63 letters, digits and . _ -, "
                          'and may have a domain before it, such as cloud.google.com/gke-accelerator.')
    if value and not re.fullmatch(_LABEL, value):
        raise ConfigError(f"{where} has {key!r}: {value!r}; a label's value has at most 63 letters, digits and . _ -, "
                          'and begins and ends with a letter or digit.')


def check_secret(source: str, where: str):
    """Raises ConfigError if it is not 'secret/key'."""
    secret, _, key = source.partition('/')
    if not is_subdomain(secret) or not re.fullmatch(r'[A-Za-z0-9._-]{1,253}', key):
        raise ConfigError(f"{where}: {source!r}. Write 'secret/key': the secret's name has lower-case letters, digits, "
                          'hyphens and dots, the key letters, digits and . _ -.')


def check_volumes(volumes: dict[str, str], where: str):
    """Raises ConfigError for a claim or a folder that cannot be mounted. volumes: claim -> folder."""
    taken: dict[str, str] = {}
    for claim, folder in volumes.items():
        if not is_subdomain(claim):
            raise ConfigError(f'{where} has {claim!r}; the name of a PersistentVolumeClaim has lower-case letters, '
                              'digits, hyphens and dots, and begins and ends with a letter or digit.')
        if not folder.startswith('/'):
            raise ConfigError(f'{where} has {claim!r}: {folder!r}. The folder must begin with a slash.')
        path = '/' + posixpath.normpath(folder).strip('/')
        hidden = next((system for system in _SYSTEM if is_in(system, path) or is_in(path, system)), None)
        if hidden or ':' in folder or '..' in folder.split('/'):
            reason = f'It would hide {hidden} of the container' if hidden else 'It must have no ":" and no ".."'
            raise ConfigError(f'{where} has {claim!r}: {folder!r}. {reason}; mount it elsewhere, such as on /media.')
        if path in taken:
            raise ConfigError(f'{where}: {taken[path]!r} and {claim!r} are both on {path}. Mount each on a folder of '
                              'its own.')
        taken[path] = claim


def is_in(path: str, folder: str) -> bool:
    """Whether an absolute path is the folder or lies in it."""
    return f'{posixpath.normpath(path)}/'.startswith(f'{posixpath.normpath(folder).rstrip("/")}/')


def is_subdomain(name: str) -> bool:
    """Whether it is a name as Kubernetes' objects have them (RFC 1123)."""
    return len(name) <= 253 and bool(re.fullmatch(_SUBDOMAIN, name))
