"""The media of the examples in a page, within a budget of bytes."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from components import media_pictures


class Picture:
    """The place of an example's media: nothing until it is drawn.

    features: of the example; None if they are not there. alt: what it is of. player_seconds: of a sound.
    """

    def __init__(self, modality: str, features: dict | None, alt: str, player_seconds: float):
        self._arguments = modality, features, alt, player_seconds
        self._html = Markup('')

    def __html__(self) -> str:
        return self._html

    def draw(self, most_bytes: int) -> int:
        """Draws it, if it has at most so many bytes. Returns how many it has."""
        modality, features, alt, player_seconds = self._arguments
        html = media_pictures.picture(modality, features, alt, player_seconds) if features else Markup('')
        size = len(html.encode('utf-8', 'backslashreplace'))
        if size <= most_bytes:
            self._html = html
        return size


def draw(lists: Iterable[Sequence[Picture]], most_bytes: int) -> int:
    """Draws pictures, in turn the first of each list, the second of each, and so on, in at most so many bytes.

    A list ends where one does not fit. Returns how many pictures are left out.
    """
    rests, left_out = [iter(pictures) for pictures in lists], 0
    while rests:
        going_on = []
        for rest in rests:
            picture = next(rest, None)
            if picture is None:
                continue
            size = picture.draw(most_bytes)
            if size <= most_bytes:
                most_bytes -= size
                going_on.append(rest)
            else:
                left_out += 1 + sum(1 for _ in rest)
        rests = going_on
    return left_out
