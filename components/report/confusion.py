"""The report's confusion matrices: a table of few classes; of many a heat map and the pairs most often confused."""

import base64
import io

import numpy as np
from markupsafe import Markup
from PIL import Image

from model_code import words

TABLE_CLASSES = 20  # a table of more is not readable
MAP_SIDE = 200  # cells of a heat map's side: of more classes, several share a cell
_MAP_PIXELS = 320  # of a heat map's side, about
_SHADES = 6  # CSS classes k0 to k5
_COLOURS = ((246, 247, 249), (47, 111, 222), (16, 32, 84))  # from no example to all of a class


def section(confusion: dict, pairs: int) -> dict:
    """What confusion.html shows of one matrix. pairs: how many are listed at most.

    confusion: {'group', 'labels': [label], 'counts': [[true, predicted, count], ...]}, as evaluation.json has it.

    Returns {'group', 'labels', 'rows': [{'label', 'cells': [(count, CSS class)]}] (few classes), 'map': html (many),
    'pairs': [{'label', 'predicted', 'count', 'share'}]}.
    """
    labels, counts = confusion['labels'], confusion['counts']
    totals = np.zeros(len(labels), np.int64)
    for true, _, count in counts:
        totals[true] += count
    wrong = sorted((row for row in counts if row[0] != row[1] and row[2]), key=lambda row: (-row[2], row[:2]))
    few = len(labels) <= TABLE_CLASSES
    listed = [] if few else wrong[:pairs]
    return {
        'group': confusion['group'], 'labels': labels, 'rows': _rows(labels, counts, totals) if few else [],
        'map': '' if few else _heat_map(len(labels), counts, totals),
        'pairs': [{'label': labels[true], 'predicted': labels[predicted], 'count': count,
                   'share': words.percent(count / totals[true])} for true, predicted, count in listed],
        'more_pairs': 0 if few else len(wrong) - len(listed)}


def _rows(labels, counts, totals) -> list[dict]:
    matrix = np.zeros((len(labels),) * 2, np.int64)
    for true, predicted, count in counts:
        matrix[true, predicted] = count
    shares = matrix / np.maximum(totals, 1)[:, np.newaxis]
    shades = np.where(matrix > 0, 1 + np.minimum((shares * (_SHADES - 1)).astype(int), _SHADES - 2), 0)
    return [{'label': label, 'cells': [
        (int(count), f'k{shade}{" right" if i == j else ""}')
        for j, (count, shade) in enumerate(zip(matrix[i], shades[i], strict=True))]} for i, label in enumerate(labels)]


def _heat_map(classes: int, counts, totals) -> Markup:
    """A picture: rows are labels, columns what the model says; dark is a large share of the label's examples."""
    side = min(classes, MAP_SIDE)
    cells, row_totals = np.zeros((side, side)), np.zeros(side)
    for true, predicted, count in counts:
        cells[true * side // classes, predicted * side // classes] += count
    np.add.at(row_totals, np.arange(classes) * side // classes, totals)
    # The square root shows rare confusions beside the diagonal.
    shades = np.sqrt(cells / np.maximum(row_totals, 1)[:, np.newaxis])
    image = Image.fromarray((shades * 255).astype(np.uint8), 'P')
    stops = np.linspace(0, 255, len(_COLOURS))
    image.putpalette(np.stack([np.interp(np.arange(256), stops, channel) for channel in zip(*_COLOURS, strict=True)],
                              axis=1).astype(np.uint8).tobytes())
    scale = max(1, _MAP_PIXELS // side)
    out = io.BytesIO()
    image.save(out, 'PNG', optimize=True)
    return Markup('<img class="heat" src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">').format(
        base64.b64encode(out.getvalue()).decode(), side * scale, side * scale,
        f'Confusion matrix of {classes} classes; the pairs most often confused are listed beside it')
