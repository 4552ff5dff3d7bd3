"""The report's part on the data beside those of the served version: findings, paired histograms, shares of labels."""

from markupsafe import Markup

from model_code import words

WIDTH, HEIGHT, BOTTOM = 330, 90, 16


def section(result: dict, colours: dict[str, str]) -> dict:
    """What the template shows of drift.json (components.data_drift.executor.judge). colours: task -> its CSS class."""
    found = {(finding['task'], finding['feature']) for finding in result['findings']}
    return {
        'version': result['version'], 'status': result['status'], 'remarks': result['remarks'],
        'sentences': [finding['sentence'] for finding in result['findings']],
        'tasks': [{
            'name': task['name'], 'modality': task['modality'], 'colour': colours.get(task['name'], 'c0'),
            'split': task['split'], 'examples': list(task['examples'].items()),
            'features': [{'title': feature['title'], 'chart': histogram(feature),
                          'old': _number(feature['old_mean']), 'new': _number(feature['new_mean']),
                          'drifted': (task['name'], feature['name']) in found} for feature in task['features']],
            'labels': _bars(task['labels']), 'labels_drifted': (task['name'], 'label') in found,
        } for task in result['tasks']]}


def histogram(feature: dict) -> Markup:
    """The new shares as bars, the old ones as an outline over them; both axes are those of the larger."""
    old, new, edges = feature['old'], feature['new'], feature['edges']
    highest = max(*old, *new) or 1.0
    floor, bin_width = HEIGHT - BOTTOM, WIDTH / len(new)

    def y(share: float) -> float:
        return floor - (floor - 4) * share / highest

    bars = [Markup('<rect class="new" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        i * bin_width + 0.5, y(share), bin_width - 1, floor - y(share)) for i, share in enumerate(new) if share]
    steps = [f'{x * bin_width:.1f},{y(share):.1f}' for i, share in enumerate(old) for x in (i, i + 1)]
    corners = ' '.join([f'0,{floor}', *steps, f'{WIDTH},{floor}'])
    texts = [Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, HEIGHT - 3, anchor, _number(value))
             for x, anchor, value in ((0, 'start', edges[0]), (WIDTH, 'end', edges[-1]))]
    title = f'{feature["title"]}: mean {_number(feature["new_mean"])}, was {_number(feature["old_mean"])}'
    return Markup('<svg class="chart paired" viewBox="0 0 {} {}" role="img" aria-label="{}">{}<line class="grid" '
                  'x1="0" x2="{}" y1="{}" y2="{}"/><polyline class="old" points="{}"/>{}</svg>').format(
        WIDTH, HEIGHT, title, Markup('').join(bars), WIDTH, floor, floor, corners, Markup('').join(texts))


def _number(value: float) -> str:
    return words.short_number(value).replace('-', '−')


def _bars(labels: list) -> list[dict]:
    """labels: (label, old share, new share). The new share as a bar, the old one as a line below it."""
    largest = max((share for _, *shares in labels for share in shares), default=0) or 1.0
    return [{'label': label, 'old': f'{old:.1%}', 'new': f'{new:.1%}', 'chart': Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="part0" '
        'width="{:.1f}" height="6"/><rect class="was" y="8" width="{:.1f}" height="2"/></svg>').format(
            100 * new / largest, 100 * old / largest)} for label, old, new in labels]
