"""Thumbnails of images, and their brightness."""

from PIL import Image

SIDE = 16  # pixels of a thumbnail's rows and columns


def thumbnail(image: Image.Image) -> bytes:
    """[SIDE, SIDE] uint8, row by row: the luma of the whole image, averaged over areas, whatever its aspect."""
    if image.mode not in ('L', 'RGB'):
        image = image.convert('RGB')
    # Reduced by whole numbers first, so that a large image costs a tenth of its decoding.
    return image.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0).convert('L').tobytes()


def brightness(thumbnails: bytes) -> float:
    """The mean luma of one or several thumbnails of one size, from 0 (black) to 1 (white)."""
    return sum(thumbnails) / (255 * len(thumbnails))
