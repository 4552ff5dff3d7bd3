"""Images as clients send them: JPEG, PNG and GIF. Pure functions of core TensorFlow ops.

Most files are passed on byte for byte, as ingest stores them. A picture that lies on its side by its metadata, one with
transparency and a GIF become what ingest makes of them: an upright opaque PNG, or a GIF that is opaque.
"""

import numpy as np
import tensorflow as tf

from model_code.modalities import ImageInput, Limits
from model_code.sent_media import content, exif, jpeg

_AS_IT_IS, _JPEG, _PNG, _GIF = range(4)  # what `as_stored` has to do
_MAX_EXTENSIONS, _MAX_BLOCKS = 100, 1_000  # before the first picture of a GIF, and in each of them
_SEND = 'send a JPEG or PNG image'
# In a PNG: a transparent colour, metadata that may be compressed, and any of these or of other metadata.
_PNG_KEY, _PNG_PACKED = 'tRNS', r'Raw profile type exif|XML:com\.adobe\.xmp\x00\x01'
_PNG_WORDS = f'{_PNG_KEY}|eXIf|tiff:Orientation|{_PNG_PACKED}'


def tables() -> dict[str, np.ndarray]:
    """What `as_stored` needs besides: nothing."""
    return {}


def check(encoded: tf.Tensor, spec: ImageInput, limits: Limits) -> tuple[tf.Tensor, tf.Tensor]:
    """[N] bytes -> (what is wrong with each, '' if nothing; a plan [N, 2] int32 for `as_stored`)."""
    del spec
    magic = tf.strings.substr(encoded, 0, 4)
    is_png, is_gif, is_jpeg = magic == b'\x89PNG', magic == b'GIF8', jpeg.is_jpeg(encoded)
    none = tf.zeros_like(is_png, tf.int32)
    height, width, components, metadata = tf.cond(
        tf.reduce_any(is_jpeg), lambda: jpeg.headers(encoded, is_jpeg),
        lambda: (none, none, none, tf.zeros_like(is_png)))
    png_size = content.numbers(encoded, 16, 2, tf.int32)
    depth, colour = tf.unstack(content.numbers(encoded, 24, 2), axis=1)
    # They are not looked for in JPEGs, which are the larger files.
    described = is_png & content.contains(tf.where(is_jpeg, '', encoded), _PNG_WORDS)
    odd = (is_jpeg & metadata) | described | is_gif
    orientation, keyed, packed, gif_size = content.rarely(
        tf.reduce_any(odd), lambda: _looked_into(encoded, odd, is_jpeg, is_gif),
        lambda: (none + exif.UPRIGHT, described, described, png_size))
    size = tf.where(is_gif[:, tf.newaxis], gif_size, png_size)
    height, width = tf.where(is_jpeg, height, size[:, 1]), tf.where(is_jpeg, width, size[:, 0])
    transparent = is_png & ((colour == 4) | (colour == 6) | keyed)

    def pixels():
        return tf.strings.join(['it has ', tf.strings.as_string(width), ' x ', tf.strings.as_string(height),
                                f' pixels; at most {limits.pixels:,} are allowed: send a smaller image'])
    too_large = (width < 0) | (height < 0) | (
        tf.cast(width, tf.int64) * tf.cast(height, tf.int64) > limits.pixels)
    problems = content.sentences(
        tf.size(encoded),
        (~(is_png | is_gif | is_jpeg), lambda: tf.strings.join(
            ['it is ', content.kinds(encoded), f', which an image task does not take: {_SEND}'])),
        (too_large, pixels),
        ((width == 0) | (height == 0), f'its header is damaged: {_SEND} that other programs open'),
        (is_jpeg & (components != 1) & (components != 3), 'it is a JPEG in CMYK: send one in RGB, or a PNG'),
        (is_png & keyed & (colour == 2) & (depth == 16),
         'it is a PNG of 16 bits with a transparent colour: send one of 8 bits'),
        (is_png & packed, 'it is a PNG with compressed EXIF or XMP metadata, which may say that it lies on its side: '
                          'send it upright and without metadata'),
        (is_gif & packed, f'it is a GIF whose first picture does not fill it, or that has metadata: {_SEND}'))
    turned = orientation != exif.UPRIGHT
    todo = tf.where(is_gif, _GIF, tf.where(is_jpeg & turned, _JPEG, tf.where(transparent | turned, _PNG, _AS_IT_IS)))
    return problems, tf.stack([todo, orientation], 1)


def _looked_into(encoded, odd, is_jpeg, is_gif):
    """(orientation, has a transparent colour, cannot be taken as it is, size of a GIF) of each; of what is odd, or not.

    What is in a PNG is found by its name, wherever it is: chunks after the pixels count, too.
    """
    def each(image):
        one, is_odd, of_jpeg, of_gif = image
        tiff, xmp = tf.cond(of_jpeg & is_odd, lambda: jpeg.metadata(one), lambda: _png_metadata(one))
        return (tf.cond(is_odd & ~of_gif, lambda: exif.orientation(tiff, xmp), lambda: exif.UPRIGHT),
                tf.cond(of_gif, lambda: ~_covers(one), lambda: False))
    orientation, partial = tf.map_fn(each, (encoded, odd, is_jpeg, is_gif), fn_output_signature=(tf.int32, tf.bool))
    return (orientation, content.contains(encoded, _PNG_KEY), partial | content.contains(encoded, _PNG_PACKED),
            content.numbers(encoded, 6, 2, tf.uint16, little=True))


def _png_metadata(encoded):
    """As jpeg.metadata. Of XMP it is the whole file, which names an orientation only there."""
    after = tf.concat([tf.strings.split(encoded, 'eXIf', maxsplit=1), ['']], 0)[1]
    return tf.strings.regex_replace(after, r'^Exif\x00\x00', ''), encoded  # some programs put this before it


def as_stored(encoded: tf.Tensor, plan: tf.Tensor, spec: ImageInput, tables: dict) -> tf.Tensor:
    """[N] bytes in which `check` found nothing wrong, with its plan -> [N] images as ingest stores them."""
    del spec, tables
    todo, orientation = plan[:, 0], plan[:, 1]

    def change(image):
        one, how, lies = image
        return tf.switch_case(how, [lambda: one, lambda: _upright_jpeg(one, lies), lambda: _opaque_png(one, lies),
                                    lambda: _opaque_gif(one)])
    return content.rarely(
        tf.reduce_any(todo != _AS_IT_IS),
        lambda: tf.map_fn(change, (encoded, todo, orientation), fn_output_signature=tf.string), lambda: encoded)


def _upright_jpeg(encoded, orientation):
    # As Pillow decodes it. TensorFlow's default is a faster transform, which differs in a pixel's last bits.
    pixels = tf.io.decode_jpeg(encoded, channels=3, dct_method='INTEGER_ACCURATE')
    return _png(exif.turned(pixels, orientation))


def _opaque_png(encoded, orientation):
    """What is transparent is blended with white, in the integer arithmetic of Pillow's `alpha_composite`."""
    rgba = tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    total = (colour * alpha + 255 * (255 - alpha) + 128) * 128
    blended = tf.bitwise.right_shift(tf.bitwise.right_shift(total, 8) + total, 15)
    return _png(exif.turned(tf.cast(blended, tf.uint8), orientation))


def _png(pixels):
    return tf.io.encode_png(pixels, compression=0)  # it is decoded at once


def _gif_parts(encoded):
    """(graphic control extension, first picture): the positions of a GIF's blocks; the first is -1 if there is none.

    The layout is that of the GIF89a specification.
    """
    palette_flags = content.byte(encoded, 10)
    palette_end = 13 + tf.where(palette_flags >= 128, 3 * 2 ** (palette_flags % 8 + 1), 0)

    def skip(i, position, control):
        # An extension: two bytes of introduction, then blocks that begin with their length. The last is empty.
        is_control = content.byte(encoded, position + 1) == 0xF9
        end, = tf.while_loop(lambda at: content.byte(encoded, at) != 0,
                             lambda at: (at + 1 + content.byte(encoded, at),),
                             (position + 2,), maximum_iterations=_MAX_BLOCKS)
        return i + 1, end + 1, tf.where(is_control, position, control)
    _, picture, control = tf.while_loop(
        lambda i, position, _: (content.byte(encoded, position) == 0x21) & (i < _MAX_EXTENSIONS), skip,
        (0, palette_end, -1))
    return control, picture


def _covers(encoded):
    """Whether a GIF's first picture fills it, and no XMP metadata may say that it lies on its side."""
    _, picture = _gif_parts(encoded)
    place = content.numbers(encoded[tf.newaxis], picture + 1, 4, tf.uint16, little=True)[0]
    canvas = content.numbers(encoded[tf.newaxis], 6, 2, tf.uint16, little=True)[0]
    fills = tf.reduce_all(place == tf.concat([[0, 0], canvas], 0)) & (content.byte(encoded, picture) == 0x2C)
    return fills & ~content.contains(encoded[tf.newaxis], 'tiff:Orientation')[0]


def _opaque_gif(encoded):
    """A GIF -> one whose first picture has white in place of a transparent colour.

    TensorFlow would leave black there, and not say where. So the palette's entry becomes white, and the flag that makes
    it transparent is cleared.
    """
    control, picture = _gif_parts(encoded)
    flags, index = content.byte(encoded, control + 3), content.byte(encoded, control + 6)
    own_palette = content.byte(encoded, picture + 9) >= 128
    entry = tf.where(own_palette, picture + 10, 13) + 3 * index

    def changed():
        opaque = tf.gather(tf.constant([bytes([value]) for value in range(256)]), flags - 1)
        return content.replaced(content.replaced(encoded, control + 3, opaque, 1), entry, b'\xff\xff\xff', 3)
    return tf.cond((control >= 0) & (flags % 2 == 1), changed, lambda: encoded)
