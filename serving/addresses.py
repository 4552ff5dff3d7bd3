"""Where a model is: a server, the model's name there, and perhaps one version of it."""

import dataclasses
import re
import urllib.parse

from model_code.errors import ConfigError

REST_URL = 'http://127.0.0.1:8501'  # of a server on this machine
GRPC_URL = 'http://127.0.0.1:8500'


@dataclasses.dataclass(frozen=True)
class Address:
    """root: scheme, host and port, and the path before /v1 if a proxy has one. version: None for the newest."""
    root: str
    model: str
    version: int | None = None

    @classmethod
    def parse(cls, url: str, model: str, example: str = REST_URL) -> 'Address':
        """url: a server's root, or a model's URL (.../v1/models/NAME[/versions/V]). model: if the URL names none.

        Raises ConfigError for what is no URL.
        """
        try:
            parts = urllib.parse.urlsplit(url if '://' in url else f'http://{url}')
            valid = parts.scheme in ('http', 'https') and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:  # a port that is no number, brackets that are not closed
            valid = False
        if not valid:
            raise ConfigError(f'{url} is not the URL of a server. Give one like {example}.')
        match = re.fullmatch(r'(.*?)(?:/v1/models/([^/:]+)(?:/versions/([0-9]{1,18}))?)?/*', parts.path)
        assert match
        root = f'{parts.scheme}://{parts.netloc}{match[1]}'
        return cls(root, urllib.parse.unquote(match[2] or model), int(match[3]) if match[3] else None)

    @property
    def url(self) -> str:
        """The model's URL over REST."""
        version = '' if self.version is None else f'/versions/{self.version}'
        return f'{self.root}/v1/models/{urllib.parse.quote(self.model, safe="")}{version}'


def is_local(url: str) -> bool:
    """Whether it leads to this machine, whose addresses a proxy of the environment cannot reach."""
    return urllib.parse.urlsplit(url).hostname in ('127.0.0.1', 'localhost', '::1')
