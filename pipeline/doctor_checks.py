"""What `polyvit doctor` looks at. Each check returns findings; none needs TensorFlow or TFX in this process."""

import dataclasses
import errno
import fcntl
import importlib
import json
import locale
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import typing
from importlib import metadata

import humanize
import psutil

from model_code import isolated, words
from model_code.hardware import processor, read, usable_cores
from pipeline import fingerprints

OK, WARNING, PROBLEM = 'ok', 'warning', 'problem'

LOCK = pathlib.Path(__file__).resolve().parents[1] / 'requirements.lock'
TESTED_PYTHON = '3.10'  # that of requirements.lock
DEVICES_SECONDS = 60.0  # TensorFlow's import takes 3 to 7, on a machine with a GPU up to 15
LEAST_MEMORY = 4e9  # below it, a warning; a run with a tiny model takes 1.2 GB
LEAST_DISK = 5e9  # below it, a warning; below a tenth, a problem
SLOW_DISK = 10e6  # bytes per second
PORTS = {8501: 'REST', 8500: 'gRPC'}
# Codecs that media of the web and of public data sets need, by FFmpeg's names.
CODECS = ('h264', 'hevc', 'mpeg4', 'vp8', 'vp9', 'av1', 'mjpeg', 'aac', 'mp3', 'vorbis', 'opus', 'flac')


@dataclasses.dataclass(frozen=True)
class Finding:
    """name: of what was looked at. state: 'ok', 'warning', or 'problem' if a run cannot work. fix: '' if ok."""
    name: str
    state: str
    text: str
    fix: str = ''


def machine() -> list[Finding]:
    memory = psutil.virtual_memory()
    text = (f'{processor()}, {words.count(usable_cores(), "core")}, {_size(memory.total)} of memory '
            f'({_size(memory.available)} free), {platform.system()} {platform.machine()}')
    if platform.machine() == 'x86_64' and not _has_avx():
        return [Finding('machine', PROBLEM, f'{text}; the processor has no AVX, which the packages of TensorFlow need',
                        'Use a machine with AVX (made since 2011; virtual machines may hide it).')]
    if memory.available < LEAST_MEMORY:
        return [Finding('machine', WARNING, text,
                        'End other programs: training may be killed if there is not enough memory.')]
    return [Finding('machine', OK, text)]


def _has_avx() -> bool:
    flags = re.search(r'^flags\s*:\s*(.+)$', read('/proc/cpuinfo'), re.MULTILINE)
    return not flags or 'avx' in flags[1].split()


def packages() -> list[Finding]:
    """Python and the installed packages, against those of requirements.lock, or the ranges of an installed wheel."""
    version = platform.python_version()
    findings = [Finding('python', OK, f'Python {version}')]
    if not version.startswith(f'{TESTED_PYTHON}.'):
        findings = [Finding('python', WARNING, f'Python {version}; tested is {TESTED_PYTHON}',
                            f'Make the environment with Python {TESTED_PYTHON} if something fails.')]
    main = ', '.join(f'{name} {fingerprints.library_version(package) or "missing"}' for name, package in (
        ('TensorFlow', 'tensorflow'), ('TFX', 'tfx'), ('Beam', 'apache-beam'), ('protobuf', 'protobuf')))
    missing = [name for name, _ in needs() if not fingerprints.library_version(name)]
    if missing:
        return [*findings, Finding('packages', PROBLEM, f'{main}; not installed: {", ".join(missing)}', _INSTALL)]
    differing = differing_packages()
    if differing:
        named = ', '.join(differing[:5]) + (f' and {len(differing) - 5} more' if len(differing) > 5 else '')
        return [*findings, Finding('packages', WARNING, f'{main}; other than tested: {named}', _INSTALL)]
    return [*findings, Finding('packages', OK, f'{main}; all as tested')]


_INSTALL = 'Install what was tested: `make .venv/ready` in a checkout, or uv pip install -r requirements.lock.'


def needs() -> list[tuple[str, typing.Any]]:
    """(package, packaging's specifier set) of each package that this project needs at run time."""
    from packaging.requirements import Requirement
    requirements = map(Requirement, metadata.requires('polyvit-pipeline') or [])
    return [(r.name, r.specifier) for r in requirements if not r.marker or r.marker.evaluate({'extra': ''})]


def differing_packages() -> list[str]:
    """'numpy 2.0.0 (tested: 1.26.4)' for each installed package that is not of the tested version."""
    if LOCK.is_file():
        locked = re.findall(r'^([\w.-]+)==([^\s;\\]+)', LOCK.read_text(encoding='utf-8'), re.MULTILINE)
        found = [(name, fingerprints.library_version(name), tested) for name, tested in locked]
        return [f'{name} {here} (tested: {tested})' for name, here, tested in found if here and here != tested]
    found = [(name, fingerprints.library_version(name), tested) for name, tested in needs()]
    return [f'{name} {here} (tested: {tested})' for name, here, tested in found if not tested.contains(here)]


def accelerators() -> list[Finding]:
    """What TensorFlow sees, in a process of its own: its import is slow, and a broken driver can end or hang it."""
    try:
        done = subprocess.run(isolated.python('-m', 'pipeline.devices'), capture_output=True,
                              encoding='utf-8', errors='replace', timeout=DEVICES_SECONDS,
                              env=os.environ | {'TF_CPP_MIN_LOG_LEVEL': '3'})
    except subprocess.TimeoutExpired:
        return [Finding('accelerators', WARNING, f'TensorFlow did not start within {DEVICES_SECONDS:g} seconds',
                        'Try again when the machine is idle. If it is always slow, compile the byte code: '
                        f'{sys.executable} -m compileall -q {sysconfig.get_path("purelib")}')]
    match = re.search(r'^DEVICES (.*)$', done.stdout, re.MULTILINE)
    if done.returncode or not match:
        last = (done.stderr.strip().splitlines() or ['no message'])[-1]
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f'exit code {done.returncode}'
        return [Finding('accelerators', PROBLEM, f'TensorFlow does not start ({how}): {last[:200]}', _INSTALL)]
    return [_about_devices(**json.loads(match[1]))]


def _about_devices(found: list, cuda: bool) -> Finding:
    if found:
        return Finding('accelerators', OK, ', '.join(f'{kind} {name}'.strip() for kind, name in found))
    if not os.path.exists('/dev/nvidia0') and not os.path.exists('/proc/driver/nvidia/version'):
        return Finding('accelerators', OK, 'none; training runs on the processor')
    if os.environ.get('CUDA_VISIBLE_DEVICES', '0') in ('', '-1'):
        return Finding('accelerators', WARNING, 'the GPU is hidden by CUDA_VISIBLE_DEVICES',
                       'unset CUDA_VISIBLE_DEVICES')
    version = fingerprints.library_version('tensorflow')
    fix = (f'Install the libraries of CUDA: pip install "tensorflow[and-cuda]=={version}"' if cuda
           else 'Install a TensorFlow that is built for CUDA.')
    return Finding('accelerators', WARNING, 'there is an NVIDIA GPU, but TensorFlow does not see it', fix)


def disk(root: str) -> list[Finding]:
    """Space, speed, permission and locks of the folder where runs go, or of the nearest one that exists."""
    folder = pathlib.Path(root).absolute()
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    try:
        speed = _write_speed(folder)
    except OSError as error:
        return [Finding('disk', PROBLEM, f'{folder} cannot be used: {error.strerror}',
                        f'Give another --root, or make it yours: sudo chown -R {os.getuid()} {folder}'
                        if error.errno in (errno.EACCES, errno.EPERM) else 'Give another --root.')]
    text = f'{_size(free)} free in {folder}, writes {_size(speed)} per second'
    if free < LEAST_DISK:
        return [Finding('disk', PROBLEM if free < LEAST_DISK / 10 else WARNING, text,
                        'Free some space (`polyvit clean`), or give another --root.')]
    if speed < SLOW_DISK:
        return [Finding('disk', WARNING, text, 'Give a --root on a faster disk; a network folder slows runs down.')]
    return [Finding('disk', OK, text)]


def _write_speed(folder: pathlib.Path) -> float:
    """Bytes per second to a file of at most 64 MB in `folder`. Raises OSError if it cannot be written or locked."""
    block = os.urandom(4 << 20)
    with tempfile.NamedTemporaryFile(dir=folder, prefix='.tmp-') as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as a run locks its root
        started, written = time.monotonic(), 0
        while written < 64e6 and time.monotonic() - started < 1:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
            written += len(block)
        return written / (time.monotonic() - started)


def ports() -> list[Finding]:
    taken = [(port, use) for port, use in PORTS.items() if not _is_free(port)]
    if not taken:
        return [Finding('ports', OK, f'{" and ".join(map(str, PORTS))} are free for `polyvit serve`')]
    text = '; '.join(f'{port} ({use}) is used by {_user_of(port)}' for port, use in taken)
    return [Finding('ports', WARNING, text, 'Stop it, or give `polyvit serve` other ports: --port and --grpc-port.')]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
            return True
        except OSError:
            return False


def _user_of(port: int) -> str:
    try:
        for connection in psutil.net_connections('tcp'):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f'process {process.pid} ({" ".join(process.cmdline())[:80] or process.name()})'
    except psutil.Error:
        pass
    return 'a process that this user cannot see'


def codecs() -> list[Finding]:
    try:
        av = importlib.import_module('av')
    except ImportError as error:
        return [Finding('codecs', PROBLEM, f'PyAV cannot be imported: {error}', _INSTALL)]
    missing = [name for name in CODECS if name not in av.codecs_available]
    text = f'PyAV {av.__version__} with FFmpeg {av.ffmpeg_version_info}'
    if missing:
        return [Finding('codecs', WARNING, f'{text} cannot decode {", ".join(missing)}',
                        'Install the wheel of PyAV (pip install --only-binary av av); it brings its own FFmpeg.')]
    return [Finding('codecs', OK, f'{text}: {", ".join(CODECS)}')]


def decoding() -> list[Finding]:
    """Whether the sandbox decodes an image, a sound and a clip that are made on the spot."""
    from media.entries import Entry
    from media.sandbox.parent import Decoder
    from model_code.modalities import MODALITIES, Limits
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in _make_media(folder):
            row = next(row for row in MODALITIES.values() if name.endswith(row.endings))
            with Decoder(folder, row.name, row.input_class(), Limits(decode_seconds=5.0)) as decoder:
                decoded, = decoder.read([Entry(name, (), 'train')])
            if decoded.rejection:
                failed.append(f'{row.name}: {decoded.rejection.reason}, {decoded.rejection.detail}')
    if failed:
        return [Finding('decoding', PROBLEM, f'the sandbox does not decode what it should: {"; ".join(failed)}',
                        _INSTALL)]
    return [Finding('decoding', OK, 'the sandbox decodes an image, a sound and a clip')]


def _make_media(folder: str) -> tuple[str, ...]:
    """Writes a small file of each modality; returns their names."""
    import numpy as np
    import soundfile
    from PIL import Image

    from pipeline import demo_data
    path = pathlib.Path(folder)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path / 'image.png')
    soundfile.write(path / 'sound.wav', np.sin(np.arange(16000) / 10), 16000, subtype='PCM_16')
    demo_data.write_clip(path / 'clip.mp4', np.zeros((8, 32, 32), np.uint8))
    return 'image.png', 'sound.wav', 'clip.mp4'


def settings() -> list[Finding]:
    """The locale, and environment variables that decide whether a run works."""
    findings = []
    encoding = locale.getpreferredencoding(False)
    if encoding.lower().replace('-', '') == 'utf8':
        findings.append(Finding('locale', OK, encoding))
    else:
        findings.append(Finding('locale', WARNING, f'text is {encoding}, so names of files may not be read',
                                'export LC_ALL=C.UTF-8'))
    wrong = [name for name in ('POLYVIT_DATA', 'POLYVIT_DEMO_DATA')
             if os.environ.get(name) and not os.path.isdir(os.environ[name])]
    findings += [Finding('settings', WARNING, f'{name} is {os.environ[name]!r}; it is no folder', f'unset {name}')
                 for name in wrong]
    return findings if wrong else [*findings, Finding('settings', OK, 'no variable is in the way')]


def _size(count: float) -> str:
    return humanize.naturalsize(count, format='%.0f' if count >= 1e10 else '%.1f')
