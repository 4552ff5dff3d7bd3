"""Thumbnails of a clip's frames."""

from PIL import Image

SIDE = 8  # pixels of a thumbnail's rows and columns


def thumbnail(image: Image.Image) -> bytes:
    """[SIDE, SIDE] uint8, row by row: the luma of a whole RGB frame, averaged over areas."""
    return image.resize((SIDE, SIDE), Image.Resampling.BOX).convert('L').tobytes()
