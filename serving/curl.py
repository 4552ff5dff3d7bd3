"""The request for files as a command of a shell: curl, with the body by a pipe, so that no file is too large for it."""

import json
import os
import shlex
from collections.abc import Sequence

from serving import rest_transport, sources
from serving.remote_model import padded


def command(url: str, signature: str, media: Sequence[tuple[sources.Source, bytes | list[bytes]]]) -> str:
    """A command that sends one predict request. url: of the model. media: each source, and what is sent for it.

    Files that are sent as they are, are read by the command; otherwise it holds what the readers made of them.
    """
    authorization = '-H "Authorization: Bearer $POLYVIT_TOKEN" ' if os.environ.get('POLYVIT_TOKEN') else ''
    send = f"curl -sS {authorization}-H 'Content-Type: application/json' --data-binary @- {shlex.quote(url)}:predict"
    paths = [_sent_as_it_is(source, encoded) for source, encoded in media]
    if not all(paths):
        body = rest_transport.body(signature, padded([encoded for _, encoded in media])).decode()
        return f"{send} <<'END'\n{body}\nEND"
    # A name of a signature is no text for printf: it might hold a % or a quote.
    start = shlex.quote(f'{{"signature_name": {json.dumps(signature)}, "instances": [{{"b64": "')
    between = '''; printf '%s' '"}, {"b64": "'; '''
    files = between.join(f"base64 < {shlex.quote(path)} | tr -d '\\n'" for path in paths)
    return f"(printf '%s' {start}; {files}; printf '%s' '\"}}]}}') |\n  {send}"


def _sent_as_it_is(source: sources.Source, encoded: bytes | list[bytes]) -> str:
    """The path of a file of this machine whose content is what is sent; '' for any other."""
    if not isinstance(source, (str, os.PathLike)) or not isinstance(encoded, bytes) or not os.path.isfile(source):
        return ''
    path = os.fspath(source)
    if os.path.getsize(path) != len(encoded):
        return ''
    with open(path, 'rb') as file:
        return path if file.read() == encoded else ''
