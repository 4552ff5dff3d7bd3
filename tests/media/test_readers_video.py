"""The reader of videos: every container and codec, time, display, segments, limits, hostile files."""

import dataclasses
import fractions
import io
import struct

import av
import numpy as np
import pytest
from PIL import Image

from media import readers
from media.readers import hdr, video
from media.rejections import Rejection
from model_code.modalities import MODALITIES, VideoInput
from tests import testing

LIMIT = MODALITIES['video'].limits
CLIPS = {  # container, codec, pixel format, frames per second
    'mp4-h264': ('mp4', 'libx264', 'yuv420p', 8),
    'mov-h264-422': ('mov', 'libx264', 'yuv422p', 8),
    'mp4-h264-444': ('mp4', 'libx264', 'yuv444p', 8),
    'mp4-h265': ('mp4', 'libx265', 'yuv420p', 8),
    'mp4-h265-10bit': ('mp4', 'libx265', 'yuv420p10le', 8),
    'mp4-av1': ('mp4', 'libaom-av1', 'yuv420p', 8),
    'mp4-mpeg4': ('mp4', 'mpeg4', 'yuv420p', 8),
    'mov-prores': ('mov', 'prores_ks', 'yuv422p10le', 8),
    'mov-rle': ('mov', 'qtrle', 'rgb24', 8),
    'webm-vp8': ('webm', 'libvpx', 'yuv420p', 8),
    'webm-vp9': ('webm', 'libvpx-vp9', 'yuv420p', 8),
    'webm-vp9-alpha': ('webm', 'libvpx-vp9', 'yuva420p', 8),
    'webm-av1-10bit': ('webm', 'libaom-av1', 'yuv420p10le', 8),
    'mkv-h264': ('matroska', 'libx264', 'yuv420p', 8),
    'mkv-ffv1': ('matroska', 'ffv1', 'bgr0', 8),
    'avi-mjpeg': ('avi', 'mjpeg', 'yuvj420p', 8),
    'avi-mpeg4': ('avi', 'mpeg4', 'yuv420p', 8),
    'gif': ('gif', 'gif', 'rgb8', 10),
    'ts-h264': ('mpegts', 'libx264', 'yuv420p', 8),
    'ts-mpeg2': ('mpegts', 'mpeg2video', 'yuv420p', 25),
    'ps-mpeg2': ('dvd', 'mpeg2video', 'yuv420p', 25),
}


class _Counted(io.BytesIO):
    """Counts the bytes that are read, and the most that are read at once."""
    total = most = 0

    def read(self, size=-1):
        content = super().read(size)
        self.total, self.most = self.total + len(content), max(self.most, len(content))
        return content


def _read(content, rate=8.0, short_side=256, start=None, end=None, **limits):
    file = content if isinstance(content, io.BytesIO) else io.BytesIO(content)
    return video.read(file, len(file.getvalue()), VideoInput(frame_rate=rate, short_side=short_side),
                      dataclasses.replace(LIMIT, **limits), start, end)[:2]


def _reason(content, **arguments):
    with pytest.raises(Rejection) as caught:
        _read(content, **arguments)
    assert caught.value.detail
    return caught.value.reason


def _pixels(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)), int)


def _middles(jpeg):
    """The mean colours of the middles of the four quadrants, row by row: [4, 3]."""
    pixels = _pixels(jpeg)
    height, width = pixels.shape[0] // 8, pixels.shape[1] // 8
    return np.array([pixels[y * height:(y + 2) * height, x * width:(x + 2) * width].mean((0, 1))
                     for y in (1, 5) for x in (1, 5)])


def _numbers(features):
    return [round((_middles(jpeg)[3].mean() - 16) / 12) for jpeg in features['frames']]


@pytest.fixture
def decoded(monkeypatch):
    """A list of the sizes of all frames that the reader decodes."""
    sizes, check = [], video._Frames._check_size

    def counting(self, width, height):
        sizes.append((width, height))
        return check(self, width, height)
    monkeypatch.setattr(video._Frames, '_check_size', counting)
    return sizes


# Containers and codecs.

@pytest.mark.parametrize('name', CLIPS)
def test_every_container_and_codec(name):
    container, codec, pix_fmt, rate = CLIPS[name]
    features, notes = _read(testing.numbered_clip(container, codec, pix_fmt, rate=rate), rate)
    assert _numbers(features) == list(range(8))
    assert (features['height'], features['width'], notes) == (48, 64, ())
    assert features['duration_s'] == pytest.approx(8 / rate, abs=1e-3)
    # The GIF's palette has only two or three bits per colour, and its dithering does not change the mean.
    assert np.abs(_middles(features['frames'][0])[:3] - testing.QUADRANTS).max() < (45 if name == 'gif' else 14)
    assert features['frames'][0][:3] == b'\xff\xd8\xff' and Image.open(io.BytesIO(features['frames'][0])).mode == 'RGB'


def test_other_formats_are_not_guessed():
    for content in (b'#EXTM3U\n#EXTINF:1,\n/etc/passwd\n', b'ffconcat version 1.0\nfile /etc/passwd\n',
                    b'<?xml version="1.0"?><MPD></MPD>', testing.image_bytes(), b'\0' * 500, b'x',
                    b'OggS' + bytes(500)):
        assert _reason(content) == 'unsupported'


def test_references_to_other_files_are_not_opened():
    with pytest.raises(PermissionError, match='another file'):
        video._forbid('file:///etc/passwd', 1, {})


@pytest.mark.parametrize('matrix', ['bt709', 'smpte170m'])
def test_the_colour_matrix_that_a_file_names(matrix):
    out = io.BytesIO()
    with av.open(out, 'w', format='mp4') as file:
        stream = file.add_stream('libx264', rate=8, options={'x264-params': f'colormatrix={matrix}'})
        (stream.width, stream.height), stream.pix_fmt = (64, 48), 'yuv420p'
        frame = av.VideoFrame.from_ndarray(testing.numbered_frame(3, (64, 48)), format='rgb24')
        # From full to limited range, so that PyAV uses the matrix.
        file.mux(stream.encode(frame.reformat(format='yuv420p', dst_color_range='MPEG', src_color_range='JPEG',
                                              dst_colorspace={'bt709': 'ITU709', 'smpte170m': 'ITU601'}[matrix])))
        file.mux(stream.encode())
    for short_side in (48, 24):
        frame, = _read(out.getvalue(), short_side=short_side)[0]['frames']
        assert np.abs(_middles(frame)[:3] - testing.QUADRANTS).max() < 8


@pytest.mark.parametrize('size, matrix', [((1280, 720), 'ITU709'), ((720, 576), 'ITU601'), ((640, 640), 'ITU709')])
def test_without_a_matrix_hd_has_that_of_bt_709(size, matrix):
    out = io.BytesIO()
    with av.open(out, 'w', format='mp4') as file:
        stream = file.add_stream('libx264', rate=8)
        (stream.width, stream.height), stream.pix_fmt = size, 'yuv420p'
        frame = av.VideoFrame.from_ndarray(testing.numbered_frame(3, size), format='rgb24')
        frame = frame.reformat(format='yuv420p', dst_color_range='MPEG', src_color_range='JPEG', dst_colorspace=matrix)
        frame.colorspace = 2  # unspecified
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    frame, = _read(out.getvalue(), short_side=96)[0]['frames']
    assert np.abs(_middles(frame)[:3] - testing.QUADRANTS).max() < 8


# Nits -> what a screen of 203 shows (BT.1886): the darker half as it is, the rest compressed into what is left.
NITS = np.array([0, 1, 5, 26, 94, 203, 400, 1000])
SHOWN = 255 * np.minimum(NITS[:5] / 203, 1) ** (1 / 2.4)


def _hdr_clip(transfer, codes, size=(320, 96), chroma=512):
    """A 10-bit clip of BT.2020 with a column of each code, in [0, 1]."""
    luma = np.rint(64 + 876 * np.asarray(codes)).astype(np.uint16)
    luma = luma[None].repeat(size[1], 0).repeat(size[0] // luma.size, 1)
    out = io.BytesIO()
    with av.open(out, 'w', format='mp4') as file:
        stream = file.add_stream('libx265', rate=8, options={'crf': '4', 'x265-params': (
            # In one thread: on a busy machine its threads may hand over frames without their times.
            'frame-threads=1:pools=none:bframes=0:'
            f'log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range=limited')})
        (stream.width, stream.height), stream.pix_fmt = size, 'yuv420p10le'
        for number in range(2):
            frame = av.VideoFrame(*size, 'yuv420p10le')
            half = np.full((size[1] // 2, size[0] // 2), chroma, np.uint16)
            for plane, values in zip(frame.planes, (luma, half, half), strict=True):
                rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                rows[:, :values.shape[1]] = values
                plane.update(rows.tobytes())
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize('short_side', [96, 48])
def test_a_high_dynamic_range_becomes_the_standard_one(short_side):
    frame = _pixels(_read(_hdr_clip('smpte2084', hdr._light_to_pq(NITS)), short_side=short_side)[0]['frames'][0])
    columns = frame[short_side // 2, short_side // 5::short_side // 12 * 5][:8].mean(-1)
    assert np.abs(columns[:5] - SHOWN).max() < 5 and (np.diff(columns) > 0).all() and columns[7] > 250
    codes = np.linspace(0, 1, 8)
    frame = _pixels(_read(_hdr_clip('arib-std-b67', codes), short_side=short_side)[0]['frames'][0])
    columns = frame[short_side // 2, short_side // 5::short_side // 12 * 5][:8].mean(-1)
    scene = codes[:3] ** 2 / 3  # below half, HLG is a square root
    assert np.abs(columns[:3] - 255 * np.minimum(1000 * scene ** 1.2 / 203, 1) ** (1 / 2.4)).max() < 5
    assert (np.diff(columns) > 0).all() and columns[7] > 250
    plain = _pixels(_read(_hdr_clip('bt709', codes), short_side=short_side)[0]['frames'][0])
    assert np.abs(plain[short_side // 2, short_side // 5::short_side // 12 * 5][:8].mean(-1) - 255 * codes).max() < 5


def test_tone_mapping_keeps_grey_and_hues_and_clips_no_dark_colour():
    grey = np.arange(0, 65536, 97, np.uint16)[None, :, None].repeat(3, 2)
    for transfer in (hdr.PQ, hdr.HLG):
        mapped = hdr.to_sdr(grey, transfer).astype(int)
        assert np.ptp(mapped, axis=-1).max() <= 1 and (np.diff(mapped[0, :, 0]) >= 0).all()
        assert mapped[0, 0].max() == 0 and mapped[0, -1].min() >= 254
    for primaries, to_709 in ((9, hdr._TO_709[False]), (12, hdr._TO_709[True])):
        inside = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.2], [0.2, 0.3, 0.7]]) * 60  # nits, in BT.709
        light = inside @ np.linalg.inv(np.array(to_709)).T
        codes = np.rint(65535 * hdr._light_to_pq(light)).astype(np.uint16)[None]
        np.testing.assert_allclose(hdr.to_sdr(codes, hdr.PQ, primaries)[0], 255 * (inside / 203) ** (1 / 2.4), atol=1.5)


def test_a_turned_clip_of_high_dynamic_range_becomes_upright():
    clip = _hdr_clip('smpte2084', hdr._light_to_pq(NITS))
    upright = _pixels(_read(clip)[0]['frames'][0])
    turned = _pixels(_read(_with_matrix(clip, 0, 1, -1, 0))[0]['frames'][0])
    assert np.abs(turned - np.rot90(upright, -1)).mean() < 3


TRANSPARENT = {
    'webm-vp9': ('webm', 'libvpx-vp9', 'yuva420p', {'lossless': '1'}),
    'webm-vp8': ('webm', 'libvpx', 'yuva420p', {'auto-alt-ref': '0', 'b:v': '2M'}),
    'mov-prores-4444': ('mov', 'prores_ks', 'yuva444p10le', {'profile': '4444'}),
    'mov-png': ('mov', 'png', 'rgba', {}), 'mov-rle': ('mov', 'qtrle', 'argb', {}),
    'mkv-ffv1': ('matroska', 'ffv1', 'yuva420p', {}),
}


@pytest.mark.parametrize('name', TRANSPARENT)
def test_transparent_parts_of_a_clip_are_laid_over_white(name):
    container, codec, pix_fmt, options = TRANSPARENT[name]
    pixels = np.zeros((48, 64, 4), np.uint8)
    pixels[..., 0], pixels[:, :32, 3], pixels[:, 32:48, 3] = 200, 255, 128
    out = io.BytesIO()
    with av.open(out, 'w', format=container) as file:
        stream = file.add_stream(codec, rate=8, options={**options, 'g': '4'})
        (stream.width, stream.height), stream.pix_fmt = (64, 48), pix_fmt
        for number in range(24):
            frame = av.VideoFrame.from_ndarray(pixels, format='rgba').reformat(format=pix_fmt)
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    for arguments in ({}, {'short_side': 24}, {'start': 2.5, 'end': 2.75}):
        features, _ = _read(out.getvalue(), **arguments)
        frame = _pixels(features['frames'][1])
        scale = frame.shape[0] / 48
        for x, colour in ((10, (200, 0, 0)), (40, (227, 127, 127)), (60, (255, 255, 255))):
            assert np.abs(frame[int(20 * scale), int(x * scale)] - colour).max() < 8


def test_a_transparent_palette_is_laid_over_white():
    frames = []
    for colour in ((200, 0, 0), (0, 0, 200)):
        image = Image.new('P', (64, 48), 0)
        image.putpalette([0, 0, 0, *colour])
        image.paste(1, (0, 0, 32, 48))
        frames.append(image)
    out = io.BytesIO()
    frames[0].save(out, 'GIF', save_all=True, append_images=frames[1:], duration=500, disposal=2, transparency=0)
    pictures = [_pixels(jpeg) for jpeg in _read(out.getvalue(), 2.0)[0]['frames']]
    for picture, colour in zip(pictures, ((200, 0, 0), (0, 0, 200)), strict=True):
        assert np.abs(picture[24, 10] - colour).max() < 8 and picture[:, 40:].min() > 245


def test_grey_of_limited_range_becomes_full_range():
    content = testing.numbered_clip('mp4', 'libaom-av1', 'gray')  # for its encoder 16 is black
    frame = _pixels(_read(content)[0]['frames'][0])
    assert np.abs(frame[30:, 40:]).max() <= 3 and np.ptp(frame, axis=2).max() == 0


# Time.

@pytest.mark.parametrize('container, codec, pix_fmt', [
    ('mp4', 'libx264', 'yuv420p'), ('matroska', 'libx264', 'yuv420p'), ('webm', 'libvpx', 'yuv420p'),
    ('gif', 'gif', 'rgb8')])
def test_a_varying_rate_is_sampled_by_time(container, codec, pix_fmt):
    times = [0.0, 0.1, 0.2, 1.0, 1.1, 2.0]
    content = testing.numbered_clip(container, codec, pix_fmt, range(6), 100, times)
    features, _ = _read(content, 5.0)  # At 0, 0.2, 0.4, ...
    assert _numbers(features)[:11] == [0, 2, 2, 2, 2, 3, 4, 4, 4, 4, 5]
    assert len(features['frames']) == pytest.approx(features['duration_s'] * 5, abs=1)


@pytest.mark.parametrize('container', ['mp4', 'matroska', 'mpegts', 'mov'])
@pytest.mark.parametrize('first', [0.5, -0.3])
def test_a_clip_begins_with_its_first_frame(container, first):
    content = testing.numbered_clip(container, rate=10, times=[first + i / 10 for i in range(8)])
    features, _ = _read(content, 10)
    # MP4 and MOV have an edit list that removes what is before zero. The others begin before zero.
    hidden = 3 if first < 0 and container in ('mp4', 'mov') else 0
    assert _numbers(features) == list(range(hidden, 8))
    assert features['duration_s'] == pytest.approx(0.8 - hidden / 10, abs=0.01)


@pytest.mark.parametrize('rate', [24, 30])
def test_frames_are_sampled_by_time_not_by_number(rate):
    numbers = [(i * 7) % 20 for i in range(rate)]
    content = testing.numbered_clip(rate=rate, numbers=numbers)
    assert _numbers(_read(content, 8.0)[0]) == [numbers[k * rate // 8] for k in range(8)]
    assert len(_read(content, 12.5)[0]['frames']) == 13
    fast = _read(content, 2 * rate)[0]['frames']
    assert len(fast) == 2 * rate and fast[0] is fast[1]  # each is stored twice, but encoded once


def test_avi_that_has_no_presentation_times():
    features, _ = _read(testing.numbered_clip('avi', 'mpeg4', bf='2', numbers=range(12), rate=25), 25)
    assert _numbers(features) == list(range(12))


# Display.

def _with_matrix(content, a, b, c, d):
    at = content.index(b'tkhd') + 4 + 40
    matrix = struct.pack('>9i', a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    return content[:at] + matrix + content[at + 36:]


@pytest.mark.parametrize('matrix, turned', [
    ((1, 0, 0, 1), lambda x: x), ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)), ((0, -1, 1, 0), lambda x: np.rot90(x, 1)),
    ((-1, 0, 0, 1), lambda x: x[:, ::-1]), ((1, 0, 0, -1), lambda x: x[::-1]),
    ((0, 1, 1, 0), lambda x: x.transpose(1, 0, 2)), ((0, -1, -1, 0), lambda x: np.rot90(x, 2).transpose(1, 0, 2))])
def test_turned_and_mirrored_clips_become_upright(matrix, turned):
    content = testing.numbered_clip(numbers=[0, 5])
    upright = _pixels(_read(content)[0]['frames'][1])
    features, _ = _read(_with_matrix(content, *matrix))
    assert np.abs(_pixels(features['frames'][1]) - turned(upright)).mean() < 3
    assert (features['height'], features['width']) == turned(upright).shape[:2]


@pytest.mark.parametrize('container, codec, pix_fmt', [
    ('webm', 'libvpx', 'yuv420p'), ('mp4', 'libx264', 'yuv444p'), ('avi', 'mjpeg', 'yuvj420p'), ('gif', 'gif', 'rgb8')])
@pytest.mark.parametrize('short_side, size', [(256, (77, 101)), (33, (33, 43)), (5, (5, 7))])
def test_odd_sizes(container, codec, pix_fmt, short_side, size):
    features, _ = _read(testing.numbered_clip(container, codec, pix_fmt, range(3), size=(101, 77)), 8.0, short_side)
    pixels = _pixels(features['frames'][1])
    assert pixels.shape[:2] == size == (features['height'], features['width'])
    if short_side > 5:  # the last column and row are not padding
        for y, x, colour in ((2, -1, testing.QUADRANTS[1]), (-1, 2, testing.QUADRANTS[2]), (-1, -1, (28,) * 3)):
            assert np.abs(pixels[y, x] - colour).max() < (70 if codec == 'gif' else 30)


@pytest.mark.parametrize('sar, size', [
    ('4/3', (36, 64)), ('1/2', (48, 32)), ('101/100', (48, 64)), ('200/1', (48, 64))])
def test_pixels_become_square(sar, size):
    features, _ = _read(testing.numbered_clip(numbers=[4], **{'x264-params': f'sar={sar}'}))
    assert (features['height'], features['width']) == size and _numbers(features) == [4]


def test_a_size_that_changes_midway():
    out = io.BytesIO()
    with av.open(out, 'w', format='avi') as file:
        stream = file.add_stream('mjpeg', rate=8)
        (stream.width, stream.height), stream.pix_fmt = (64, 48), 'yuvj420p'
        for number, size in enumerate([(64, 48)] * 3 + [(128, 96), (32, 24)]):
            jpeg = io.BytesIO()
            Image.fromarray(testing.numbered_frame(number, size)).save(jpeg, 'JPEG', quality=95)
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, fractions.Fraction(1, 8)
            packet.is_keyframe = True
            file.mux(packet)
    features, _ = _read(out.getvalue())
    assert _numbers(features) == list(range(5))
    assert {_pixels(jpeg).shape for jpeg in features['frames']} == {(48, 64, 3)}
    assert _reason(out.getvalue(), pixels=64 * 48) == 'too_large'


def test_a_transparent_gif():
    frames = [Image.fromarray(np.dstack([testing.numbered_frame(n, (64, 48)),
                                         np.repeat([[255] * 48 + [0] * 16], 48, 0).astype(np.uint8)])) for n in (3, 9)]
    out = io.BytesIO()
    frames[0].save(out, 'GIF', save_all=True, append_images=frames[1:], duration=500, disposal=2)
    features, _ = _read(out.getvalue(), 2.0)
    assert [_pixels(jpeg)[36, 40].mean() for jpeg in features['frames']] == pytest.approx([52, 124], abs=12)


def test_core_tensorflow_decodes_the_frames():
    import tensorflow as tf
    frame = _read(testing.numbered_clip(size=(101, 77), pix_fmt='yuv444p'), short_side=16)[0]['frames'][3]
    pixels = tf.io.decode_jpeg(frame, channels=3).numpy()
    assert pixels.shape == (16, 21, 3) and np.abs(pixels.astype(int) - _pixels(frame)).max() <= 4


# Segments, and long files with few samples.

LONG = {  # 40 s with 10 frames per second and a key frame per second
    'mp4': ('mp4', 'libx264', 'yuv420p', {}),
    'open-gop': ('mp4', 'libx264', 'yuv420p', {'x264-params': 'open-gop=1:bframes=3'}),
    'fragments': ('mov', 'libx264', 'yuv420p', {'movflags': 'frag_keyframe+empty_moov'}),
    'mkv': ('matroska', 'libx264', 'yuv420p', {}), 'webm': ('webm', 'libvpx', 'yuv420p', {}),
    'avi': ('avi', 'mjpeg', 'yuvj420p', {}), 'ts': ('mpegts', 'libx264', 'yuv420p', {}),
}


@pytest.fixture(scope='module', params=LONG)
def long_clip(request):
    container, codec, pix_fmt, options = LONG[request.param]
    numbers = [(i * 7) % 20 for i in range(400)]
    return testing.numbered_clip(container, codec, pix_fmt, numbers, 10, gop=10, **options), numbers


def test_a_segment_is_reached_by_seeking(long_clip, decoded):
    content, numbers = long_clip
    for start, end in ((20.0, 21.0), (33.35, 34.35), (3.0, 4.0)):
        features, _ = _read(content, 10, start=start, end=end)
        first = int(start * 10 + 1e-6)
        assert _numbers(features) == numbers[first:first + 10]
        assert features['duration_s'] == pytest.approx(end - start)
        assert len(decoded) < 60
        decoded.clear()


@pytest.mark.parametrize('container', ['mov', 'matroska', 'avi', 'mpegts'])
def test_only_the_segment_of_a_long_file_is_read(container):
    codec, pix_fmt = ('mpeg2video', 'yuv420p') if container == 'mpegts' else ('mjpeg', 'yuvj420p')
    # A large file, because FFmpeg searches a few hundred kilobytes of a transport stream, which has no index.
    content = testing.numbered_clip(container, codec, pix_fmt, [i % 20 for i in range(750)], 25, size=(320, 240),
                                    **({'muxrate': '2000000'} if container == 'mpegts' else {}))
    assert len(content) > 1_500_000
    file = _Counted(content)
    assert _numbers(_read(file, 25, start=20.0, end=20.4)[0]) == [i % 20 for i in range(500, 510)]
    assert file.total < 0.35 * len(content) and file.most < 1 << 17


def test_a_segment_beyond_the_end(long_clip, decoded):
    content, numbers = long_clip
    features, _ = _read(content, 10, start=39.5, end=50.0)
    assert _numbers(features) == numbers[395:] and features['duration_s'] == pytest.approx(0.5, abs=0.02)
    assert _reason(content, start=41.0, end=42.0) == 'out_of_range'
    assert len(decoded) < 60
    assert _numbers(_read(content, 10, end=0.5)[0]) == numbers[:5]


def test_a_long_file_with_few_samples_is_decoded_in_part(long_clip, decoded):
    content, numbers = long_clip
    features, _ = _read(content, 0.25)
    assert _numbers(features) == numbers[::40] and features['duration_s'] == pytest.approx(40, abs=0.11)
    assert len(decoded) < 0.6 * 400


def test_without_an_index_all_frames_before_a_segment_are_decoded(decoded):
    content = testing.numbered_clip('gif', 'gif', 'rgb8', [i % 20 for i in range(100)], 10, size=(16, 16))
    assert _numbers(_read(content, 10, start=5.0, end=6.0)[0]) == [i % 20 for i in range(50, 60)]
    assert len(decoded) > 50


def test_key_frames_far_apart_do_not_cost_a_seek_per_sample(decoded):
    numbers = [(i * 7) % 20 for i in range(600)]
    content = testing.numbered_clip('mp4', 'libx264', 'yuv420p', numbers, 10, gop=600, **{'x264-params': 'scenecut=0'})
    assert _numbers(_read(content, 0.25)[0]) == numbers[::40]
    assert len(decoded) < 2 * 600


# Limits, and files with false headers.

@pytest.mark.parametrize('name', CLIPS)
def test_clips_over_the_limits(name):
    container, codec, pix_fmt, rate = CLIPS[name]
    content = testing.numbered_clip(container, codec, pix_fmt, rate=rate)
    assert _reason(content, rate=rate, pixels=64 * 48 - 1) == 'too_large'
    assert _reason(content, rate=rate, seconds=5 / rate) == 'too_large'
    assert _reason(content, rate=rate, frames=6) == 'too_large'
    assert _reason(content, rate=rate, decode_seconds=1e-9) == 'too_slow'
    assert _numbers(_read(content, rate, seconds=9 / rate, frames=9, pixels=64 * 48)[0]) == list(range(8))
    # A segment may be within the limits.
    assert len(_read(content, rate, end=4 / rate, frames=4, seconds=4 / rate)[0]['frames']) == 4


def test_a_huge_clip_is_rejected_whatever_its_header_says():
    huge = testing.numbered_clip(numbers=[0], size=(5120, 4096))
    sizes = huge.index(b'avc1', huge.index(b'stsd')) + 28
    for content in (huge, huge[:sizes] + struct.pack('>HH', 64, 48) + huge[sizes + 4:],
                    testing.numbered_clip('mpegts', numbers=[0], size=(5120, 4096))):
        assert _reason(content) == 'too_large'
    gif = testing.numbered_clip('gif', 'gif', 'rgb8')
    for side, reason in ((16_000, 'too_large'), (60_000, 'undecodable')):  # more than FFmpeg's own limit
        assert _reason(gif[:6] + struct.pack('<HH', side, side) + gif[10:]) == reason


def test_a_false_huge_size_in_the_container_alone_does_not_matter():
    mp4, avi = testing.numbered_clip(), testing.numbered_clip('avi', 'mjpeg', 'yuvj420p')
    at = mp4.index(b'avc1', mp4.index(b'stsd')) + 28
    assert len(_read(mp4[:at] + struct.pack('>HH', 60_000, 60_000) + mp4[at + 4:])[0]['frames']) == 8
    at = avi.index(b'strf') + 12
    assert len(_read(avi[:at] + struct.pack('<II', 60_000, 60_000) + avi[at + 8:])[0]['frames']) == 8


@pytest.mark.parametrize('name', ['mp4-h264', 'mkv-h264', 'webm-vp8', 'avi-mjpeg', 'gif', 'ts-h264'])
@pytest.mark.parametrize('share', [0.95, 0.5, 0.1])
def test_truncated_files(name, share):
    container, codec, pix_fmt, rate = CLIPS[name]
    content = testing.numbered_clip(container, codec, pix_fmt, [i % 20 for i in range(60)], rate)
    cut = int(len(content) * share)
    assert _reason(content[:cut + (cut % 188 == 0)]) == 'truncated'


def test_mp4_without_its_index():
    content = testing.numbered_clip()
    assert _reason(content[:content.index(b'moov') - 4]) == 'truncated'
    index = content.index(b'moov')
    assert _reason(content[:index + 4] + bytes(len(content) - index - 4)) == 'no_stream'
    first = testing.numbered_clip(movflags='frag_keyframe+empty_moov', gop=4)
    assert first.index(b'moov') < first.index(b'mdat') and _reason(first[:first.rindex(b'mdat') + 50]) == 'truncated'
    assert len(_read(first)[0]['frames']) == 8


def test_a_header_with_too_long_a_duration():
    avi = testing.numbered_clip('avi', 'mjpeg', 'yuvj420p')
    length = avi.index(b'strh') + 8 + 32
    assert _reason(avi[:length] + struct.pack('<I', 800) + avi[length + 4:]) == 'truncated'
    # One frame less is usual.
    assert len(_read(avi[:length] + struct.pack('<I', 9) + avi[length + 4:])[0]['frames']) == 8
    mkv = testing.numbered_clip('matroska')
    assert mkv.count(b'00:00:01.000000000') == 1
    assert _reason(mkv.replace(b'00:00:01.000000000', b'00:00:09.000000000')) == 'truncated'
    assert _reason(mkv.replace(b'00:00:01.000000000', b'09:00:01.000000000')) == 'too_large'
    assert len(_read(mkv.replace(b'00:00:01.000000000', b'rubbish, no time. '))[0]['frames']) == 8


@pytest.mark.parametrize('name', ['mp4-h264', 'mp4-h265', 'webm-vp8', 'avi-mjpeg', 'ts-h264', 'ps-mpeg2'])
def test_damaged_frames(name, capfd):
    container, codec, pix_fmt, rate = CLIPS[name]
    content = bytearray(testing.numbered_clip(container, codec, pix_fmt, [i % 20 for i in range(40)], rate))
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content) // 8, len(content) // 3, 60):
        content[position] = rng.integers(256)
    capfd.readouterr()
    assert _reason(bytes(content)) in ('undecodable', 'truncated')
    assert capfd.readouterr() == ('', '')  # FFmpeg prints nothing


def test_files_without_video():
    assert _reason(testing.sound_only_mp4_bytes()) == 'no_stream'
    assert _reason(testing.wav_bytes()) == 'unsupported'
    assert len(readers.read('video', testing.mp4_bytes(sound=True), VideoInput(frame_rate=8.0))['frames']) == 8


def test_sample_sizes_beyond_the_end():
    clip = testing.numbered_clip()
    sizes = clip.index(b'stsz') + 16
    assert _reason(clip[:sizes] + b'\x00\xff' * 16 + clip[sizes + 32:]) == 'undecodable'


# Notes.

def _clip_of(arrays, rate=8):
    out = io.BytesIO()
    with av.open(out, 'w', format='mp4') as file:
        stream = file.add_stream('libx264', rate=rate)
        (stream.height, stream.width), stream.pix_fmt = arrays[0].shape[:2], 'yuv420p'
        for array in arrays:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(array.astype(np.uint8), format='rgb24')))
        file.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize('rate', [4, 16])  # frames are left out, or repeated
def test_brightness_is_the_mean_luma_of_all_frames(rate):
    features, _ = _read(testing.numbered_clip(), rate)
    frames = [np.asarray(Image.open(io.BytesIO(frame)).convert('L')) for frame in features['frames']]
    assert len(frames) == rate and np.ptp([frame.mean() for frame in frames]) > 0.5
    assert features['brightness'] == pytest.approx(np.mean(frames) / 255, abs=0.01)


def test_black_and_still_clips_are_noted():
    rng = np.random.default_rng(0)
    scene = rng.integers(30, 200, (6, 8, 3)).repeat(16, 0).repeat(16, 1)
    noise = [rng.normal(0, 3, scene.shape) for _ in range(8)]
    moved = [scene.copy() for _ in range(8)]
    for i, frame in enumerate(moved):
        frame[40:52, 10 * i:10 * i + 12] = 250
    dark = [np.clip(6 + n, 0, 255) for n in noise]
    lit = dark[:-1] + [np.clip(noise[0] + 120, 0, 255)]
    for clip, notes in (([scene + n for n in noise], ('still',)), (moved, ()), (dark, ('black', 'still')), (lit, ()),
                        ([scene], ())):
        assert _read(_clip_of(clip))[1] == notes
