"""The reader of sounds: the result for every format, segments by seeking, and the reasons for rejections."""

import functools
import io
import pathlib
import struct
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile

from media import readers
from media.readers import audio_frames, audio_source
from media.rejections import Rejection
from model_code.modalities import AudioInput, Limits
from tests import testing

SPEC = AudioInput()


def _read(content, **options):
    return readers.read('audio', content, SPEC, **options)


def _reason(content, **options):
    with pytest.raises(Rejection) as caught:
        _read(content, **options)
    assert caught.value.detail and '\n' not in caught.value.detail
    return caught.value.reason


def _notes(content):
    return readers.read_with_notes('audio', content, SPEC)[1]


def _wave(content, **options):
    """The stored samples, int16."""
    features = _read(content, **options)
    sound = soundfile.SoundFile(io.BytesIO(features['audio']))
    assert (sound.samplerate, sound.channels, sound.subtype, sound.format) == (16000, 1, 'PCM_16', 'WAV')
    assert features['duration_s'] == sound.frames / 16000
    return sound.read(dtype='int16')


def _written(samples, rate=16000, subtype='PCM_16', kind='WAV', channels=1, endian=None):
    """A sound file from libsndfile, with samples [n], the same in every channel."""
    out = io.BytesIO()
    with soundfile.SoundFile(out, 'w', rate, channels, subtype, endian, kind) as file:
        for at in range(0, len(samples), 1 << 16):  # more would overflow the stack of its Vorbis encoder
            file.write(np.repeat(samples[at:at + (1 << 16), None], channels, axis=1))
    return out.getvalue()


# Every format: a function (float wave [n], rate) -> file, the rate in Hz, and the tolerance of its times in seconds.

def _by_libsndfile(kind, subtype, channels=1, endian=None):
    return lambda wave, rate: _written(wave, rate, subtype, kind, channels, endian)


def _by_ffmpeg(container, codec, channels=1, picture=False):
    return lambda wave, rate: testing.track_bytes(container, codec, rate=rate, channels=channels, picture=picture,
                                                  wave=wave)


FRAME, DELAY = 0.03, 0.06
FORMATS = {
    'wav-u8': (_by_libsndfile('WAV', 'PCM_U8'), 22050, 0),
    'wav-16': (_by_libsndfile('WAV', 'PCM_16'), 8000, 0),
    'wav-16k': (_by_libsndfile('WAV', 'PCM_16'), 16000, 0),
    'wav-24': (_by_libsndfile('WAV', 'PCM_24', 2), 44100, 0),
    'wav-32': (_by_libsndfile('WAV', 'PCM_32', 3), 48000, 0),
    'wav-float': (_by_libsndfile('WAV', 'FLOAT', 6), 48000, 0),
    'wav-double': (_by_libsndfile('WAV', 'DOUBLE', 2), 96000, 0),
    'wav-mulaw': (_by_libsndfile('WAV', 'ULAW', 2), 11025, 0),
    'wav-alaw': (_by_libsndfile('WAV', 'ALAW'), 8000, 0),
    'wav-extensible': (_by_libsndfile('WAVEX', 'PCM_16', 2), 44100, 0),
    'wav-8-channels': (_by_libsndfile('WAVEX', 'PCM_24', 8), 192000, 0),
    'rf64': (_by_libsndfile('RF64', 'PCM_16'), 32000, 0),
    'rifx': (_by_libsndfile('WAV', 'PCM_16', 2, 'BIG'), 44100, 0),
    'aiff': (_by_libsndfile('AIFF', 'PCM_16'), 44100, 0),
    'aiff-float': (_by_libsndfile('AIFF', 'FLOAT', 2), 48000, 0),
    'flac-16': (_by_libsndfile('FLAC', 'PCM_16', 2), 44100, 0),
    'flac-24': (_by_libsndfile('FLAC', 'PCM_24'), 96000, 0),
    'ogg-vorbis': (_by_libsndfile('OGG', 'VORBIS', 2), 44100, 0),
    'ogg-opus': (_by_libsndfile('OGG', 'OPUS'), 48000, 0),
    'ogg-flac': (_by_ffmpeg('ogg', 'flac'), 44100, 0),
    'mp3-libsndfile': (_by_libsndfile('MP3', 'MPEG_LAYER_III', 2), 44100, FRAME),
    'mp3-constant': (_by_ffmpeg('mp3', 'libmp3lame'), 44100, 0),
    'mp3-16k': (_by_ffmpeg('mp3', 'libmp3lame'), 16000, 0),
    'aac': (_by_ffmpeg('adts', 'aac', 2), 44100, DELAY),
    'm4a-aac': (_by_ffmpeg('ipod', 'aac', 2), 44100, FRAME),
    'm4a-alac': (_by_ffmpeg('ipod', 'alac'), 44100, 0),
    'mp4': (_by_ffmpeg('mp4', 'aac', picture='mpeg4'), 48000, FRAME),
    'mov': (_by_ffmpeg('mov', 'pcm_s16le', 2, picture='mpeg4'), 44100, 0),
    'webm-opus': (_by_ffmpeg('webm', 'libopus'), 48000, FRAME),
    'webm-vorbis': (_by_ffmpeg('webm', 'libvorbis'), 44100, FRAME),
    'mkv-aac': (_by_ffmpeg('matroska', 'aac', picture='mpeg4'), 44100, FRAME),
    'mkv-flac': (_by_ffmpeg('matroska', 'flac'), 44100, FRAME),
    'mkv-ac3': (_by_ffmpeg('matroska', 'ac3', 2), 48000, FRAME),
    'mpeg-ts': (_by_ffmpeg('mpegts', 'aac', picture='mpeg4'), 48000, DELAY),
    'avi-pcm': (_by_ffmpeg('avi', 'pcm_s16le', picture='mpeg4'), 44100, 0),
    'avi-mp3': (_by_ffmpeg('avi', 'libmp3lame', picture='mpeg4'), 44100, DELAY),
}
# Formats whose headers say how long the file must be.
LENGTH_IN_HEADER = {'wav-u8', 'wav-24', 'rf64', 'aiff', 'ogg-vorbis', 'ogg-opus', 'ogg-flac', 'mp3-constant', 'm4a-aac',
                    'mp4', 'mov', 'webm-opus', 'mkv-aac', 'avi-mp3'}


def _sweep(rate, seconds=4.0):
    """A tone of amplitude 0.5 that rises from 200 to 3,000 Hz, so that no part of it is like another."""
    times = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * (200 * times + 2800 / seconds * times * times / 2))


@functools.cache
def _example(name):
    make, rate, _ = FORMATS[name]
    return make(_sweep(rate), rate)


def _lag(wave, reference):
    """(the samples by which `wave` is late, their correlation after that shift)."""
    n = max(len(wave), len(reference))
    a, b = (np.fft.rfft(x, 2 * n) for x in (wave, reference))
    correlation = np.fft.irfft(a * b.conj(), 2 * n) / np.sqrt((wave ** 2.).sum() * (reference ** 2.).sum())
    return (int(correlation.argmax()) + n) % (2 * n) - n, correlation.max()


@pytest.mark.parametrize('name', FORMATS)
def test_every_format_becomes_16_khz_mono(name):
    make, rate, tolerance = FORMATS[name]
    wave = _wave(make(0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate), rate)) / 32768
    middle = wave[1000:15000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * 16000 / len(middle) == pytest.approx(1000, abs=2)
    assert 20 * np.log10(np.sqrt((middle ** 2).mean()) / (0.5 / np.sqrt(2))) == pytest.approx(0, abs=0.5)
    assert len(wave) / 16000 == pytest.approx(1.0, abs=tolerance + 1e-9)


@pytest.mark.parametrize('name', FORMATS)
def test_a_segment_is_at_the_right_time(name):
    tolerance = FORMATS[name][2] * 16000
    reference = 32768 * _sweep(16000)
    lag, correlation = _lag(_wave(_example(name)), reference)
    assert abs(lag) <= tolerance and correlation > 0.9
    for start, end in ((0.0, 0.6), (0.2, 0.6), (2.4, 3.2), (3.4, 9.0)):  # whole samples at all rates
        wave, expected = _wave(_example(name), start=start, end=end), reference[round(start * 16000):round(end * 16000)]
        assert len(wave) == pytest.approx(len(expected), abs=tolerance if end > 4 or not start else 0)
        lag, correlation = _lag(wave, expected)
        assert abs(lag) <= tolerance and correlation > 0.85
    for start in (4.2, 100.0):
        assert _reason(_example(name), start=start, end=start + 1) == 'out_of_range'


@pytest.mark.parametrize('kind, endian', [('WAV', None), ('WAV', 'BIG'), ('RF64', None), ('AIFF', None),
                                          ('FLAC', None)])
def test_16_khz_mono_pcm16_keeps_every_sample(kind, endian):
    samples = np.random.default_rng(0).integers(-32768, 32768, 150_000).astype(np.int16)
    samples[:4] = -32768, 32767, -1, 0
    content = _written(samples, kind=kind, endian=endian)
    np.testing.assert_array_equal(_wave(content), samples)
    np.testing.assert_array_equal(_wave(content, start=1.25, end=8.0), samples[20_000:128_000])
    np.testing.assert_array_equal(_wave(content, start=9.0, end=14.5), samples[144_000:])
    np.testing.assert_array_equal(_wave(content, end=0.5), samples[:8000])
    assert _reason(content, start=len(samples) / 16000) == 'out_of_range'


def test_channels_are_averaged():
    samples = np.random.default_rng(0).integers(-8000, 8000, (3000, 4)).astype(np.int16)
    out = io.BytesIO()
    soundfile.write(out, samples, 16000, subtype='PCM_16', format='WAV')
    assert np.abs(_wave(out.getvalue()) - samples.mean(axis=1)).max() <= 0.5


@pytest.mark.parametrize('rate', [44100, 48000])
def test_resampling_keeps_the_passband_and_removes_aliases(rate):
    def level(frequency):
        wave = _wave(testing.wav_bytes(3.0, rate, frequency=frequency, subtype='FLOAT'))[800:-800]  # 2 or 3 blocks
        return 20 * np.log10(np.sqrt(np.mean((wave / 32768.0) ** 2)) / (0.5 / np.sqrt(2)) + 1e-9)
    for frequency in (100, 1000, 5000, 7000):
        assert level(frequency) == pytest.approx(0, abs=0.5)
    for frequency in (9000, 12000):
        assert level(frequency) < -60


def test_there_is_no_seam_between_blocks():
    import soxr
    wave = _sweep(44100, 5.0).astype(np.float32)  # 220,500 samples: more than three blocks
    whole = np.rint(soxr.resample(wave, 44100, 16000, 'VHQ') * 32768)
    assert np.abs(_wave(_written(wave, 44100, 'FLOAT')) - whole).max() <= 1


# Seeking.

class _Counting(io.BytesIO):
    bytes_read = 0

    def read(self, *args):
        content = super().read(*args)
        self.bytes_read += len(content)
        return content


@pytest.mark.parametrize('make, seconds', [
    (_by_libsndfile('WAV', 'PCM_16'), 60), (_by_libsndfile('AIFF', 'PCM_24'), 60),
    (_by_libsndfile('FLAC', 'PCM_16'), 60), (_by_libsndfile('OGG', 'VORBIS'), 120),
    (_by_libsndfile('OGG', 'OPUS'), 120), (_by_ffmpeg('mp3', 'libmp3lame'), 150), (_by_ffmpeg('ipod', 'aac'), 120),
    (_by_ffmpeg('webm', 'libopus'), 120), (_by_ffmpeg('matroska', 'flac'), 60)])
def test_a_segment_is_found_by_seeking(make, seconds):
    wave = 0.3 * np.random.default_rng(0).standard_normal(seconds * 16000).clip(-3, 3)
    content = make(wave, 16000)
    assert len(content) > 400_000
    costs = []
    for start in (1.0, seconds - 3.0):
        file = _Counting(content)
        assert len(_wave(file, start=start, end=start + 1)) == 16000
        costs.append(file.bytes_read)
    # FFmpeg and libsndfile read pages of up to 64 KiB, and search in some formats.
    assert costs[1] < costs[0] + 200_000 and costs[1] < len(content) / 2 + 100_000


def test_segments_of_an_mp3_with_a_constant_bit_rate_are_exact():
    content = _by_ffmpeg('mp3', 'libmp3lame')(_sweep(44100, 30.0), 44100)
    reference = 32768 * _sweep(16000, 30.0)
    for start in np.arange(0.2, 29.0, 1.77):
        begin = round(start * 16000)
        lag, correlation = _lag(_wave(content, start=start, end=start + 0.5), reference[begin:begin + 8000])
        assert lag == 0 and correlation > 0.99


def test_memory_follows_from_what_is_stored():
    content = io.BytesIO(_written(np.zeros(120 * 48000, np.float32), 48000, 'FLOAT', channels=2))  # 46 MB
    tracemalloc.start()
    stored = len(_read(content)['audio'])
    peak = tracemalloc.get_traced_memory()[1]
    _read(content, start=100.0, end=101.0)
    tracemalloc.stop()
    assert peak < 2.5 * stored + (8 << 20)


# Notes and rejections.

def test_notes():
    tone = np.sin(np.arange(16000) / 5)
    assert _notes(_written(np.zeros(1600, np.int16))) == ('silent',)
    assert _notes(_written((3 * tone).astype(np.int16))) == ('silent',)
    assert _notes(_written((9 * tone).astype(np.int16))) == ()
    assert _notes(_written(np.clip(1.5 * tone, -1, 1), subtype='FLOAT')) == ('clipped',)
    assert _notes(_written(-np.clip(1.5 * tone, 0, 1), subtype='FLOAT')) == ('clipped',)
    assert _notes(_written(0.99 * tone)) == ()
    once = (20000 * tone).astype(np.int16)
    once[100:110] = 32767  # a run, but less than 0.1 % of all samples
    assert _notes(_written(once)) == ()
    once[::10] = 32767  # many, but no runs
    assert _notes(_written(once)) == ()


def test_loudness_is_the_rms_below_full_scale():
    tone = np.sin(np.arange(16000) * (2 * np.pi / 40))  # whole periods
    square = np.where(tone < 0, -32768, 32767)
    for samples, loudness in ((32767 * tone, -3.01), (3276.7 * tone, -23.01), (square, 0), (square // 1000, -60),
                              (0 * tone, -100), (np.eye(1, 160000)[0], -100)):
        assert _read(_written(samples.astype(np.int16)))['loudness_dbfs'] == pytest.approx(loudness, abs=0.15)


def test_limits_apply_to_the_segment():
    content = testing.wav_bytes(10, 8000)
    assert _reason(content, limits=Limits(seconds=2)) == 'too_large'
    assert _read(content, limits=Limits(seconds=2), start=7.0, end=9.0)['duration_s'] == 2
    assert _read(content, limits=Limits(seconds=2), start=9.0, end=99.0)['duration_s'] == 1
    assert _reason(content, limits=Limits(seconds=2), start=1.0) == 'too_large'
    assert _reason(content, limits=Limits(bytes=1000)) == 'too_large'
    assert _reason(testing.track_bytes('mp4', 'aac', 4), limits=Limits(seconds=2)) == 'too_large'
    # Its header has no duration, so decoding finds out.
    assert _reason(testing.track_bytes('adts', 'aac', 4), limits=Limits(seconds=2)) == 'too_large'
    for name in ('wav-16', 'flac-16', 'ogg-vorbis', 'mp3-constant', 'mp4'):
        assert _reason(_example(name), limits=Limits(decode_seconds=1e-6)) == 'too_slow'


@pytest.mark.parametrize('name', FORMATS)
def test_truncated_and_damaged_files(name, capfd):
    content = _example(name)
    for cut in (len(content) * 2 // 3, len(content) - 100):
        reason = _reason(content[:cut])
        assert reason == 'truncated' if name in LENGTH_IN_HEADER else reason in ('truncated', 'undecodable')
    _reason(content[:30])
    if name.startswith(('flac', 'mp3', 'm4a', 'mp4', 'mkv-aac', 'mkv-flac', 'aac')):
        damaged = bytearray(content)
        for at in np.random.default_rng(0).integers(len(content) // 4, len(content) * 3 // 4, 60):
            damaged[at] ^= 0xFF
        try:
            assert readers.read_with_notes('audio', bytes(damaged), SPEC)[1] == ('junk',)  # a frame that was skipped
            assert name == 'mp3-constant'
        except Rejection as rejection:
            assert rejection.reason in ('undecodable', 'truncated')
    assert capfd.readouterr().err == ''  # the decoders print nothing


def test_files_without_sound():
    assert _reason(b'') == 'empty'
    assert _reason(b'<!DOCTYPE html><html>not found</html>') == 'unsupported'
    assert _reason(b'#EXTM3U\n/etc/passwd\n') == 'unsupported'
    assert _reason(b'ffconcat version 1.0\nfile /etc/passwd\n') == 'unsupported'
    assert _reason(testing.image_bytes('JPEG')) == 'unsupported'
    assert _reason(b'\xff' * 1000) == 'unsupported'
    assert _reason(testing.mp4_bytes()) == 'no_stream'
    assert _reason(testing.mp4_bytes(), start=0.2, end=0.4) == 'no_stream'
    for kind in ('WAV', 'AIFF', 'FLAC'):
        assert _reason(testing.wav_bytes(0, kind=kind)) == 'empty'


def test_false_wav_headers():
    wav = testing.wav_bytes(0.5)
    assert _reason(wav[:-1000]) == 'truncated'
    assert _reason(wav[:20]) == 'truncated'
    assert _reason(b'RIFF\0\0\0\0WAVEfmt \x02\0\0\0xx' + b'data\x04\0\0\0abcd') == 'undecodable'

    def patched(offset, form, *values):
        changed = bytearray(wav)
        struct.pack_into(form, changed, offset, *values)
        return bytes(changed)
    with_length = bytearray(patched(40, '<I', 0x40000000))
    struct.pack_into('<I', with_length, 4, 0x40000024)
    assert _reason(bytes(with_length)) == 'truncated'
    for rate in (1, 999, 400_000, 0xFFFFFFFF):
        assert _reason(patched(24, '<I', rate)) in ('unsupported', 'undecodable')
    assert _reason(patched(22, '<H', 500)) == 'unsupported'
    assert _reason(patched(22, '<H', 0)) == 'undecodable'
    assert _reason(patched(20, '<H', 0x7777)) in ('unsupported', 'undecodable')  # an unknown codec
    assert _reason(wav[:12] + b'JUNK\0\0\0\0' * 100_000 + wav[12:]) == 'undecodable'
    # Too long, although the file is small: 700 s at 1 kHz.
    assert _reason(testing.wav_bytes(700, rate=1000)) == 'too_large'
    # RF64 has two sizes. The one of 64 bits counts.
    rf64 = bytearray(testing.wav_bytes(0.5, kind='RF64'))
    struct.pack_into('<QQ', rf64, rf64.index(b'ds64') + 8, (1 << 40) + 96, 1 << 40)
    assert _reason(bytes(rf64)) == 'truncated'


def test_a_wav_written_to_a_pipe_has_no_length_and_is_read_to_its_end():
    wav = bytearray(testing.wav_bytes(0.5))
    start = wav.index(b'data')
    for unknown in (b'\xff\xff\xff\xff', b'\0\0\0\0', b'\0\xf0\xff\x7f'):
        wav[start + 4:start + 8] = wav[4:8] = unknown
        assert _read(bytes(wav))['duration_s'] == 0.5
        assert _read(bytes(wav), start=0.3, end=0.4)['duration_s'] == 0.1
    empty = testing.wav_bytes(0) + b'LIST' + struct.pack('<I', 12) + b'INFOISFT\0\0\0\0'
    assert _reason(empty) == 'empty'


def _wav_with(data_size, riff_size=None, *, kind='WAV', order='<', cut=0):
    """A sound of 2 s, 16 kHz, with these sizes in its header. Without its last `cut` bytes."""
    content = bytearray(testing.wav_bytes(2.0, kind=kind))
    at = content.index(b'data' if kind == 'WAV' else b'SSND') + 4
    struct.pack_into(order + 'I', content, at, data_size)
    if riff_size is not None:
        struct.pack_into(order + 'I', content, 4, riff_size)
    return bytes(content[:len(content) - cut])


@pytest.mark.parametrize('kind, order, header', [('WAV', '<', 44), ('AIFF', '>', 54)])
def test_a_length_in_the_header_that_cannot_be_true_is_no_truncation(kind, order, header):
    data, options = 64000 if kind == 'WAV' else 64008, {'kind': kind, 'order': order}
    whole = len(testing.wav_bytes(2.0, kind=kind))
    placeholders = (2_000_000_000, 0x80000000, 0x7FFFFF00, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0)
    wrong = [_wav_with(value, riff, **options) for value in placeholders for riff in (None, value, 0)]
    wrong += [_wav_with(data + more, riff, **options) for more in (2, 8, 16, 36, 44)
              for riff in (None, whole - 8 + more, whole, 0)]
    wrong += [_wav_with(data + 400_000, **options)]  # the other size says that all is there
    for content in wrong:
        features, notes = readers.read_with_notes('audio', content, SPEC)
        assert features['duration_s'] == 2 and 'wrong_length' in notes
        assert _read(content, start=1.5, end=3.0)['duration_s'] == 0.5
    assert readers.read_with_notes('audio', _wav_with(data, **options), SPEC)[1] == ()


def test_a_file_that_was_cut_is_truncated_whatever_its_kind():
    whole = len(testing.wav_bytes(2.0))
    for cut in (1, 45, 1000, 25_600, 60_000):  # 45: more than the header
        assert _reason(_wav_with(64_000, cut=cut)) == 'truncated'
        assert _reason(_wav_with(64_000, cut=cut), start=0.0, end=0.01) == 'truncated'
    for cut in (100, 25_600):
        assert _reason(_wav_with(64_008, kind='AIFF', order='>', cut=cut)) == 'truncated'
    # A size that may be true, of a file of which a sixth is there, and no size of the whole.
    assert _reason(_wav_with(400_000, 0)) == 'truncated'
    assert _reason(_wav_with(0x6FFFFFFF, 0)) == 'truncated'
    # Within the samples of one moment.
    assert _reason(_wav_with(64_000, whole - 8, cut=3)) == 'truncated'


def test_bw64_is_read_and_its_length_is_checked():
    content = testing.wav_bytes(2.0, kind='RF64').replace(b'RF64', b'BW64', 1)
    assert _read(content)['duration_s'] == 2
    assert _reason(content[:-20_000]) == 'truncated'


# Frames without a container.

def _mp3(seconds=3.0, info=True, rate=44100):
    content = _by_ffmpeg('mp3', 'libmp3lame')(_sweep(rate, seconds), rate)
    start = content.index(b'\xff\xfb' if rate > 24000 else b'\xff\xf3')
    length = audio_frames.frame_length(content[start:])
    assert content[start:start + length].count(b'Info') == 1
    return content[start:] if info else content[start + length:]


def _junk(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8).tobytes()


APE = b'APETAGEX' + struct.pack('<IIIQ', 2000, 32, 1, 1 << 31) + b'\x0a\0\0\0' + b'Title\0' * 330
BEFORE = {
    'zeros': bytes(5000), 'junk': _junk(300), 'much-junk': _junk(60_000), 'ape': APE,
    'icy': b'ICY 200 OK\r\nicy-name: Radio\r\nicy-metaint: 0\r\n\r\n',
    'http': b'HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n',
    'id3-and-junk': b'ID3\3\0\0\0\0\0\x0a' + bytes(10) + _junk(99),
}


@pytest.mark.parametrize('name', BEFORE)
@pytest.mark.parametrize('make', [_mp3, lambda: _mp3(info=False), lambda: _example('aac')],
                         ids=['info', 'plain', 'aac'])
def test_the_first_frame_is_found_behind_what_is_no_frame(name, make):
    clean, content = make(), BEFORE[name] + make()
    features, notes = readers.read_with_notes('audio', content, SPEC)
    assert notes == ('junk',) and features == _read(clean)
    assert _read(content, start=0.5, end=1.5) == _read(clean, start=0.5, end=1.5)
    assert readers.read_with_notes('audio', clean, SPEC)[1] == ()


def test_a_recording_of_the_radio_begins_and_ends_within_a_frame():
    clean = _mp3(info=False)
    for name, content in (('mp3', clean), ('aac', _example('aac'))):
        wave, whole = _wave(content[200:-150]), _wave(content)
        lag, correlation = _lag(wave, whole)
        assert -0.07 * 16000 < lag <= 0 and correlation > 0.9 and len(whole) - len(wave) < 0.15 * 16000, name
        assert readers.read_with_notes('audio', content[200:-150], SPEC)[1] == ('junk',)
        assert _reason(content[:-150]) == 'truncated'  # it begins with a frame, so it should end with one
    assert _reason(_junk(200) + _mp3()[:-20_000]) == 'truncated'  # its header says how long it is


def test_mp3s_that_were_joined_are_read_whole():
    one, other = _mp3(3.0), _mp3(2.0)
    id3 = b'ID3\x03\0\0' + bytes([0, 0, 7, 104]) + b'\0' * 1000
    for joined in (one + other, id3 + one + id3 + other, one + b'TAG' + bytes(125) + other + b'TAG' + bytes(125),
                   id3 + _mp3(3.0, info=False) + id3 + _mp3(2.0, info=False)):
        features, notes = readers.read_with_notes('audio', joined, SPEC)
        assert features['duration_s'] == pytest.approx(5, abs=0.2) and notes == ('junk',)
        lag, correlation = _lag(_wave(joined, start=3.0, end=5.0), 32768 * _sweep(16000, 2.0))
        assert 0 <= lag < 0.12 * 16000 and correlation > 0.85
    assert _reason(one + other[:-9000]) == 'truncated'
    assert _reason(one + _mp3(2.0, rate=32000)) == 'unsupported'  # the rate changes


@pytest.mark.parametrize('kind', ['vorbis', 'opus', 'flac'])
def test_ogg_files_that_were_joined_are_read_whole_and_damaged_pages_are_not_left_out(kind):
    content = _example(f'ogg-{kind}')
    features, notes = readers.read_with_notes('audio', content + content, SPEC)
    assert features['duration_s'] == pytest.approx(8, abs=0.03) and notes == ()
    middle = content.index(b'OggS', len(content) // 3)
    assert readers.read_with_notes('audio', content[:middle] + _junk(99) + content[middle:], SPEC)[1] == ('junk',)
    damaged = bytearray(content)
    damaged[middle + 100] ^= 1
    assert _reason(bytes(damaged)) == 'undecodable'
    after = content.index(b'OggS', middle + 4)
    assert _reason(content[:middle] + content[after:]) == 'undecodable'  # a page is missing


def test_what_is_no_frame_within_an_mp3_is_skipped():
    clean = _mp3(3.0)
    middle = audio_frames.find(io.BytesIO(clean), len(clean) // 2)[1]
    for content in (clean[:middle] + _junk(700) + clean[middle:], clean[:middle] + bytes(2000) + clean[middle:],
                    clean[:middle] + b'\xff' * 5000 + clean[middle:],
                    clean[:middle] + b'\x12' + clean[middle + 1:]):  # a damaged header
        features, notes = readers.read_with_notes('audio', content, SPEC)
        assert notes == ('junk',) and features['duration_s'] == pytest.approx(3, abs=0.03)
    assert _reason(clean + _junk(2 * len(clean))) == 'undecodable'  # most of it is no sound


def test_other_files_are_not_taken_for_mp3(tmp_path):
    import zipfile
    with zipfile.ZipFile(tmp_path / 'stored.zip', 'w') as archive:
        archive.writestr('a.mp3', _mp3(1.0))
    others = [(tmp_path / 'stored.zip').read_bytes(), open(sys.executable, 'rb').read(1 << 20), b'\xff' * 100_000,
              *(testing.image_bytes(kind, size=(300, 300)) for kind in ('JPEG', 'PNG', 'TIFF', 'WEBP', 'BMP')),
              b'a text about sounds\n' * 5000, _by_libsndfile('WAV', 'PCM_16')(_sweep(16000), 16000)[44:],
              bytes(200_000), testing.track_bytes('flv', 'libmp3lame', 1)]
    others += [_junk(80_000, seed) for seed in range(60)]
    rng = np.random.default_rng(1)  # many bytes that look like the beginning of a frame
    others += [rng.choice(np.array([0xFF, 0xFB, 0xF3, 0x90, 0x64, 0], np.uint8), 80_000).tobytes() for _ in range(5)]
    for content in others:
        assert _reason(content) == 'unsupported'


# The second decoder.

@pytest.mark.parametrize('codec', ['adpcm_yamaha', 'mp2', 'ac3', 'g726'])
def test_what_libsndfile_does_not_read_ffmpeg_does(codec):
    rate = 8000 if codec == 'g726' else 44100
    content = testing.track_bytes('wav', codec, rate=rate, wave=_sweep(rate, 2.0))
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.info(io.BytesIO(content))
    lag, correlation = _lag(_wave(content), 32768 * _sweep(16000, 2.0))
    assert 0 <= lag < 0.03 * 16000 and correlation > 0.85
    assert _reason(content[:len(content) // 2]) == 'truncated'


def test_a_rejection_says_what_both_decoders_say():
    damaged = bytearray(_example('flac-16'))
    damaged[len(damaged) // 2] ^= 0xFF
    with pytest.raises(Rejection, match='^undecodable: No decoder reads it whole. libsndfile: .* FFmpeg: '):
        _read(bytes(damaged))


def _shared(folder):
    files = sorted((pathlib.Path(__file__).parents[3] / 'shared/faults' / folder).glob('*.[wm][ap][v3]'))
    return files or [pytest.param(None, marks=pytest.mark.skip(f'../shared/faults/{folder} is not here'))]


@pytest.mark.parametrize('path', _shared('wav_header_sizes') + _shared('mp3_leading_and_inner_junk'), ids=str)
def test_files_from_the_field(path):
    features, notes = readers.read_with_notes('audio', path, SPEC)
    assert notes == (('wrong_length',) if path.suffix == '.wav' else ('junk',))
    expected = {'.wav': 2.0, '.mp3': 8.1 if 'cat' in path.name else 3.27 if 'rip' in path.name else 4.05}[path.suffix]
    assert features['duration_s'] == pytest.approx(expected, abs=0.03)


def test_false_durations_of_hours_are_rejected_before_decoding():
    flac = bytearray(testing.wav_bytes(1, kind='FLAC'))
    packed, = struct.unpack_from('>Q', flac, 18)  # STREAMINFO: rate, channels, depth, and 36 bits of samples
    struct.pack_into('>Q', flac, 18, packed & ~((1 << 36) - 1) | 16000 * 3600 * 30)
    assert _reason(bytes(flac)) == 'too_large'
    assert _reason(bytes(flac), start=3600.0, end=3601.0) in ('truncated', 'undecodable')
    mkv = bytearray(testing.track_bytes('matroska', 'flac', 1))
    struct.pack_into('>d', mkv, mkv.index(b'\x44\x89\x88') + 3, 1e3 * 3600 * 30)  # Duration, in ms
    assert _reason(bytes(mkv)) == 'too_large'
    assert _reason(bytes(mkv), start=0.5, end=100.0) == 'truncated'


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize('rate', [16000, 44100])
def test_samples_that_are_not_finite(value, rate):
    wave = np.zeros(5000, np.float32)
    wave[1234] = value
    assert _reason(_written(wave, rate, 'FLOAT')) == 'undecodable'


def test_tags_before_and_after_the_frames_are_not_sound():
    id3 = b'ID3\x03\0\0' + bytes([0, 0, 7, 104]) + b'\0' * 1000
    for name in ('mp3-constant', 'mp3-libsndfile', 'aac', 'flac-16'):
        wave = _wave(_example(name))
        np.testing.assert_array_equal(_wave(id3 + _example(name)), wave)
        if name.startswith('mp3'):
            np.testing.assert_array_equal(_wave(id3 + _example(name) + b'TAG' + b'\0' * 125), wave)
            np.testing.assert_array_equal(_wave(id3 + _example(name), start=1.0, end=2.0),
                                          _wave(_example(name), start=1.0, end=2.0))


@pytest.mark.parametrize('name', ['wav-24', 'flac-24', 'mp4'])
def test_a_file_that_fails_while_it_is_read_is_unreadable(name, capfd):
    class Failing(io.BytesIO):
        def read(self, *args):
            if self.tell() > 20_000:
                raise OSError('the bucket is gone')
            return super().read(*args)
    assert _reason(Failing(_example(name))) == 'unreadable'
    assert capfd.readouterr().err == ''


def test_a_seek_to_before_the_beginning_does_not_move():
    for file in (io.BytesIO(b'abcd'), io.BufferedReader(io.BytesIO(b'abcd'))):
        source = audio_source.Source(file, 1.0)
        assert source.seek(2) == 2 and source.seek(-1) == 2 and source.read(2) == b'cd'


def test_the_name_of_a_file_does_not_matter(tmp_path):
    for name in ('a.raw', 'a.mp3', 'a'):
        path = testing.write(tmp_path, name, testing.wav_bytes(20, 16000))  # too large to be read at once
        assert _read(path)['duration_s'] == 20
    path = testing.write(tmp_path, 'b.wav', testing.track_bytes('mp4', 'aac', 30, picture='mpeg4'))
    assert _read(path)['duration_s'] == pytest.approx(30, abs=FRAME)


def test_tensorflow_decodes_what_is_stored():
    import tensorflow as tf
    wave, rate = tf.audio.decode_wav(_read(testing.wav_bytes(0.25, 8000, 2))['audio'])
    assert rate.numpy() == 16000 and wave.shape == (4000, 1)


def test_one_byte_and_one_channel_are_not_several():
    with pytest.raises(Rejection, match='^truncated: It ends 1 byte earlier than its header says.$'):
        _read(testing.wav_bytes()[:-1])
    with pytest.raises(Rejection, match='^unsupported: It has 1 channel at 500 Hz; 1 to 64 channels at 1,000 '):
        _read(testing.wav_bytes(rate=500))
