"""Which served version the data of a run are compared with. No TFX, no TensorFlow."""

from serving import served


def choose(serving_dir: str, media_fingerprints: dict[str, str]) -> str:
    """The number of the version whose data the new data are compared with; '' if there is none.

    media_fingerprints: task -> that of its media.

    The newest version, unless it was trained on these very media. Data are not compared with themselves: the comparison
    of that version with the one before it is repeated, and so comes from the cache.
    """
    newest = served.newest(serving_dir)
    if newest is None:
        return ''
    if trained_on(newest, media_fingerprints):
        return str(newest.card.get('data_baseline_version', ''))
    return str(newest.number)


def trained_on(version: served.Served, media_fingerprints: dict[str, str]) -> bool:
    """Whether a version's model was trained on the media with these fingerprints, and on no others."""
    return version.card.get('media_fingerprints') == media_fingerprints
