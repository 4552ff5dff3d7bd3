"""How people speak of the numeric features of examples, in sentences and in charts."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Words:
    """unit, difference: of its values, and of what is between two, each with a space before it. scale: of an axis."""
    noun: str
    unit: str
    difference: str
    less: str
    more: str
    advice: str
    scale: str = ''

    @property
    def title(self) -> str:
        """Over a chart: 'duration (seconds)'."""
        return f'{self.noun} ({self.scale})' if self.scale else self.noun


_SIZE = 'Check the camera or the export that made them: the model sees them resized.'
_WORDS = {
    'height': Words('height', ' pixels', ' pixels', 'lower', 'higher', _SIZE, 'pixels'),
    'width': Words('width', ' pixels', ' pixels', 'narrower', 'wider', _SIZE, 'pixels'),
    'duration_s': Words('duration', ' s', ' s', 'shorter', 'longer', 'Check how the recordings are cut.', 'seconds'),
    'text_bytes': Words('length', ' bytes', ' bytes', 'shorter', 'longer', 'Check where they are cut off.', 'bytes'),
    'brightness': Words('brightness', '', '', 'darker', 'brighter', 'Check the exposure and the conversion.', '0 to 1'),
    'loudness_dbfs': Words('loudness', ' dBFS', ' dB', 'quieter', 'louder', 'Check the microphone and its level.',
                           'dBFS'),
}


def words_of(feature: str) -> Words:
    """Those of a feature by its name in the Examples; one that is not known is called by that name."""
    noun = feature.replace('_', ' ')
    return _WORDS.get(feature) or Words(noun, '', '', f'lower in {noun}', f'higher in {noun}',
                                        'Check where they come from.')
