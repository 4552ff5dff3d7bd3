"""The page at `/`, to try the models in a browser: one static file, and what it must know of this server.

Its policy lets the browser run its own script alone, and reach this server alone.
"""

import base64
import functools
import hashlib
import pathlib
import re
import urllib.parse

from aiohttp import web

from model_code import modalities, model_directory, signature_names
from serving import api
from serving.errors import ServingError
from serving.limits import Limits
from serving.saved_model import task_names

# Keys of the model card that the page needs. Those of a push are not in the card that the graph gives.
_SHOWN = ('intended_use', 'limits', 'forced', 'tasks', 'inputs', 'encoder_passes', 'parameters', 'metrics',
          'evaluation', 'trained')
_FILE = pathlib.Path(__file__).with_name('page.html')


def answer(path: str, models: api.Models, limits: Limits) -> web.Response | None:
    """What a GET of this path gets; None if it is not of the page."""
    if path == '/':
        content, headers = _content()
        return web.Response(body=content, content_type='text/html', charset='utf-8', headers=headers)
    if path == '/page.json':
        return web.json_response(_server(models, limits), headers={'Cache-Control': 'no-store'})
    if path.startswith('/page/'):
        return _model(urllib.parse.unquote(path.removeprefix('/page/')), models)
    return None


def _model(name: str, models: api.Models) -> web.Response:
    """The newest version of a model that answers, and what the page shows of its card; {} if it has none."""
    try:
        with models.acquire(name) as (version, model):
            shown = {'version': str(version), 'card': _card(model.directory),
                     'wav_rates': _wav_rates(model.signatures)}
    except ServingError as error:
        message = f'Model {name} has no version ready ({error.message})'
        return web.json_response({'error': message}, status=error.http_status)
    return web.json_response(shown, headers={'Cache-Control': 'no-store'})


def _card(directory: str) -> dict:
    try:
        card = model_directory.read_card(directory)
    except (OSError, ValueError):  # damaged
        return {}
    return {key: card[key] for key in _SHOWN if key in card}


def _wav_rates(signatures) -> list[int]:
    """Hz of the WAV files that the graph takes, whatever their depth; [] for a model of before `T_safe`."""
    if not any(signature_names.safe(task) in signatures for task in task_names(signatures)):
        return []
    return [modalities.SOUND_RATE, *modalities.COMMON_SOUND_RATES]


def _server(models: api.Models, limits: Limits) -> dict:
    """The models by name, and the bounds that the page can keep before it sends anything."""
    media = {name: limits.of_media(name) for name in modalities.MODALITIES}
    return {'models': [model.name for model in models], 'max_body_bytes': limits.max_body_bytes,
            'media': {name: {'pixels': of.pixels, 'seconds': of.seconds, 'frames': of.frames}
                      for name, of in media.items()}}


@functools.cache  # nothing is read unless somebody asks
def _content() -> tuple[bytes, dict[str, str]]:
    content = _FILE.read_bytes()
    policy = {'default-src': "'none'", 'script-src': _hash_of('script', content),
              'style-src': _hash_of('style', content), 'img-src': 'blob: data:', 'media-src': 'blob:',
              'connect-src': "'self'", 'base-uri': "'none'", 'form-action': "'none'", 'frame-ancestors': "'none'"}
    return content, {'Content-Security-Policy': '; '.join(f'{name} {value}' for name, value in policy.items()),
                     'Permissions-Policy': 'camera=(self), microphone=(self)', 'Referrer-Policy': 'no-referrer',
                     'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-cache'}


def _hash_of(tag: str, content: bytes) -> str:
    """The source of the file's one inline script or style, as a policy names it."""
    inline, = re.findall(rf'<{tag}>(.*?)</{tag}>'.encode(), content, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline).digest()).decode()}'"
