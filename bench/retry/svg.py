"""Two small plots as SVG text: bars in groups, and a line against the diagonal."""

from collections.abc import Sequence
from html import escape

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888")
_LEFT, _TOP, _HEIGHT = 150, 40, 18
_WIDE = 420


def bars(
    title: str, names: Sequence[str], groups: Sequence[tuple[str, Sequence[float]]], most: float
) -> str:
    """One group of bars for each row, one bar for each name; longer than `most` is cut."""
    row = _HEIGHT // 2 * len(names) + 12
    parts = [_text(10, 18, title, 14)]
    for i, name in enumerate(names):
        parts.append(_box(_LEFT + 65 * i, 26, 8, 8, _COLOURS[i]))
        parts.append(_text(_LEFT + 65 * i + 11, 34, name))
    for g, (group, values) in enumerate(groups):
        top = _TOP + 8 + g * row
        parts.append(_text(10, top + row / 2, group))
        for i, value in enumerate(values):
            width = min(value, most) / most * _WIDE
            parts.append(_box(_LEFT, top + 9 * i, max(width, 1), 7, _COLOURS[i]))
            parts.append(_text(_LEFT + width + 4, top + 9 * i + 7, f"{value:.2f}", 8))
    return _svg(_LEFT + _WIDE + 60, _TOP + 16 + len(groups) * row, parts)


def calibration(title: str, lines: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """Points (predicted, observed) of each line beside the diagonal."""
    side, parts = 300, [_text(10, 18, title, 14)]
    parts.append(_path([(0.0, 0.0), (1.0, 1.0)], side, "#bbbbbb"))
    for i, (name, points) in enumerate(lines):
        parts.append(_path(points, side, _COLOURS[i]))
        parts.append(_box(side + 60, 50 + 16 * i, 8, 8, _COLOURS[i]))
        parts.append(_text(side + 72, 58 + 16 * i, name))
    parts.append(
        _text(40, 30 + side + 24, "predicted chance of success, 0 to 1; upwards: observed")
    )
    return _svg(side + 220, side + 70, parts)


def _path(points: Sequence[tuple[float, float]], side: int, colour: str) -> str:
    drawn = " ".join(f"{40 + x * side:.1f},{30 + (1 - y) * side:.1f}" for x, y in points)
    return f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _text(x: float, y: float, words: str, size: int = 10) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}">{escape(words)}</text>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
    inside = "\n".join(parts)
    return (
        f'{head} font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
        f"{inside}\n</svg>\n"
    )
