"""Durations, counts and numbers in words, for messages and reports. (For sizes, use humanize.naturalsize.)"""

import humanize


def duration(seconds: float) -> str:
    """'4.2 seconds', '1 minute and 14 seconds', '3 hours and 20 minutes', '2 days and 5 hours'."""
    if 0 < seconds < 0.05:
        return 'under 0.1 seconds'
    if seconds < 10:
        return humanize.precisedelta(seconds, format='%0.1f')
    unit, size = (('seconds', 1) if seconds < 3600 else ('minutes', 60) if seconds < 24 * 3600 else ('hours', 3600))
    return humanize.precisedelta(size * round(seconds / size), unit, ('months', 'years'), '%d')


def count(number: int, noun: str, plural: str = '') -> str:
    """'1 task', '2,000 tasks'. plural: of the noun, if it is not the noun with an s."""
    return f'{number:,} {noun if number == 1 else plural or noun + "s"}'


def percent(share: float) -> str:
    """'87%'. What is not all or nothing does not read so: 'over 99%', 'under 1%'."""
    if 0 < share < 0.005:
        return 'under 1%'
    return 'over 99%' if 0.995 <= share < 1 else f'{share:.0%}'


def short_number(value: float) -> str:
    """A number with at most four significant digits: '0.1235', '1500', '12 k', '3.2 M', '5.0e-4'."""
    if 0 < abs(value) < 0.001:
        return f'{value:.1e}'.replace('e-0', 'e-')
    for scale, unit in ((1e9, ' G'), (1e6, ' M'), (1e3, ' k')):
        if abs(value) >= max(scale, 1e4):
            return f'{value / scale:.3g}{unit}'
    return f'{value:.4g}'
