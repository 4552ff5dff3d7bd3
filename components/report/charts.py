"""Inline SVG from plain numbers. Colours come from the page's CSS classes; all text is escaped."""

import dataclasses
import math
from collections.abc import Iterable

from markupsafe import Markup

from model_code import words

WIDTH, HEIGHT = 330, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 24

# More points than pixels would only make the file larger.
MAX_POINTS = 300


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve. points: (x, y). css: its classes, which set colour and weight. dots: whether each point has one."""
    points: list[tuple[float, float]]
    css: str
    dots: bool = False


def smooth(values: list[float], window: int) -> list[float]:
    """The mean of each value and its neighbours within half a window; as many as `values`.

    Unlike an exponential moving average it does not lag.
    """
    half = window // 2
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    result = []
    for i in range(len(values)):
        low, high = max(0, i - half), min(len(values), i + half + 1)
        result.append((sums[high] - sums[low]) / (high - low))
    return result


def thin(points: list, limit: int = MAX_POINTS) -> list:
    """At most `limit` of the points, evenly spread, with the first and the last."""
    if len(points) <= limit:
        return points
    step = (len(points) - 1) / (limit - 1)
    return [points[round(i * step)] for i in range(limit)]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers from low to high: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    step = _step(high - low, count)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _step(size: float, count: int) -> float:
    """The smallest of 1, 2, 5, 10 times a power of ten that divides `size` into about `count` parts or fewer."""
    power = 10 ** math.floor(math.log10(size / count))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= size / count * 0.999)


def _round_up(high: float) -> float:
    """The first tick at or above `high`, so that a numbered line lies above the highest point."""
    step = _step(high, 4)
    return step * math.ceil(high / step - 1e-9)


def line_chart(lines: list[Line], title: str, limit: int = MAX_POINTS, axes: tuple[str, str] = ('', '')) -> Markup:
    """A chart of lines, by default over training steps, both axes from 0; '' if no line has a finite point.

    Points that are not finite are left out, so the curve of a loss that became NaN ends there. limit: the most points
    of a line. axes: the names of x and y where both are shares, from 0 to 1.
    """
    kept = [dataclasses.replace(line, points=thin([p for p in line.points if all(map(math.isfinite, p))], limit))
            for line in lines]
    points = [p for line in kept for p in line.points]
    if not points:
        return Markup('')
    x_high = 1 if axes[0] else max(max(x for x, _ in points), 1)
    y_high = 1 if axes[1] else _round_up(max(y for _, y in points) or 1.0)

    def place(x, y):
        return (LEFT + (WIDTH - LEFT - RIGHT) * x / x_high,
                HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * max(y, 0.0) / y_high)

    parts = []
    for value in ticks(0, y_high):
        _, y = place(0, value)
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                            '<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                                LEFT, WIDTH - RIGHT, y, y, LEFT - 6, y + 3.5, words.short_number(value)))
    for value in ticks(0, x_high):
        x, _ = place(value, 0)
        parts.append(Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
            x, HEIGHT - 8, 'middle' if value < x_high * 0.97 else 'end', words.short_number(value)))
    for line in kept:
        places = [place(x, y) for x, y in line.points]
        path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in places)
        parts.append(Markup('<polyline class="{}" points="{}"/>').format(line.css, path))
        parts += [Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="2"/>').format(line.css, x, y)
                  for x, y in places if line.dots]
    if axes[0]:
        parts.append(Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            LEFT + 0.75 * (WIDTH - LEFT - RIGHT), HEIGHT - 8, axes[0]))
        parts.append(Markup('<text transform="translate(12 {}) rotate(-90)" text-anchor="middle">{}</text>').format(
            (TOP + HEIGHT - BOTTOM) / 2, axes[1]))
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, title, Markup('').join(parts))


def bar(widths: Iterable[float | str]) -> Markup:
    """A bar of parts side by side. widths: of each part, in percent of the whole."""
    left, parts = 0.0, []
    for i, width in enumerate(map(float, widths)):
        parts.append(Markup('<rect class="part{}" x="{:.2f}" width="{:.2f}" height="10"/>').format(i, left, width))
        left += width
    return Markup('<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
                  ).format(Markup('').join(parts))


def bullet(value: float | None, floor: float, baseline: float | None, good: bool,
           interval: tuple[float | None, float | None] = (None, None)) -> Markup:
    """A bar from 0 to 1, filled to `value` in the verdict's colour; a tick at the floor, a ring at the baseline, and a
    line over the interval."""
    title = f'value {words.short_number(value) if value is not None else "unknown"}, floor {words.short_number(floor)}'
    if baseline is not None:
        title += f', being served {words.short_number(baseline)}'
    parts = [Markup('<rect class="track" x="0" y="5" width="200" height="10" rx="5"/>')]
    if value is not None:
        width = 200 * min(max(value, 0.0), 1.0)
        parts.append(Markup('<rect class="fill {}" x="0" y="5" width="{:.1f}" height="10" rx="5"/>').format(
            'good' if good else 'bad', width))
    low, high = interval
    if low is not None and high is not None:
        parts.append(Markup('<line class="interval" x1="{:.1f}" x2="{:.1f}" y1="10" y2="10"/>').format(
            200 * min(max(low, 0.0), 1.0), 200 * min(max(high, 0.0), 1.0)))
    if floor > 0:
        parts.append(Markup('<line class="floor" x1="{0:.1f}" x2="{0:.1f}" y1="1" y2="19"/>').format(
            min(max(200 * floor, 1), 199)))
    if baseline is not None:
        parts.append(Markup('<circle class="baseline" cx="{:.1f}" cy="10" r="4"/>').format(
            min(max(200 * baseline, 5), 195)))
    return Markup('<svg class="bullet" viewBox="0 0 200 20" preserveAspectRatio="xMinYMid" role="img" '
                  'aria-label="{0}"><title>{0}</title>{1}</svg>').format(title, Markup('').join(parts))
