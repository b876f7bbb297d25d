"""Frontiers as a picture: small panels of polls a job against lag, both in logarithms, as an SVG file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

COLUMNS = 2
WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 42
LEGEND = 34
COLOURS = ("#7a7a7a", "#c9822b", "#3a76b0", "#b0302f")
STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Curve:
    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """`shipped` is the point of the default; `live` are those of real runs, by who ran."""

    title: str
    curves: Sequence[Curve]
    shipped: tuple[float, float]
    live: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Axis:
    """From values to places, in logarithms."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        return self.begin + (self.end - self.begin) * math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [step * 10.0**power for power in powers for step in STEPS]
        return [value for value in values if self.low <= value <= self.high]


def draw(panels: Sequence[Panel]) -> str:
    """The SVG document."""
    rows = math.ceil(len(panels) / COLUMNS)
    width, height = WIDTH * COLUMNS, HEIGHT * rows + LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        "<style>text { font: 11px sans-serif }</style>",
        '<rect width="100%" height="100%" fill="white"/>',
        *_legend(panels),
    ]
    for index, panel in enumerate(panels):
        x, y = index % COLUMNS * WIDTH, index // COLUMNS * HEIGHT + LEGEND
        parts += [f'<g transform="translate({x},{y})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def _legend(panels: Sequence[Panel]) -> list[str]:
    names = [curve.name for curve in panels[0].curves]
    parts = []
    for index, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        x = LEFT + index * 150
        parts.append(f'<line x1="{x}" y1="16" x2="{x + 22}" y2="16" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 28}" y="20">{escape(name)}</text>')
    x = LEFT + len(names) * 150
    parts.append(f'<circle cx="{x}" cy="16" r="5" fill="{COLOURS[-1]}"/><text x="{x + 10}" y="20">as shipped</text>')
    return parts


def _panel(panel: Panel) -> list[str]:
    points = [*(point for curve in panel.curves for point in curve.points), *panel.live.values()]
    x = Axis(min(p for p, _ in points) / 1.1, max(p for p, _ in points) * 1.1, LEFT, WIDTH - RIGHT)
    y = Axis(min(p for _, p in points) / 1.2, max(p for _, p in points) * 1.2, HEIGHT - BOTTOM, TOP)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts = [
        f'<text x="{LEFT}" y="{TOP - 10}" style="font-weight: bold">{escape(panel.title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">polls a job</text>',
        f'<text transform="translate(14,{middle}) rotate(-90)" text-anchor="middle">mean lag, s</text>',
    ]
    for tick in x.ticks():
        parts.append(_line([(x.at(tick), TOP), (x.at(tick), HEIGHT - BOTTOM)], "#e4e4e4", 1))
        parts.append(f'<text x="{x.at(tick):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{tick:g}</text>')
    for tick in y.ticks():
        parts.append(_line([(LEFT, y.at(tick)), (WIDTH - RIGHT, y.at(tick))], "#e4e4e4", 1))
        parts.append(f'<text x="{LEFT - 6}" y="{y.at(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for curve, colour in zip(panel.curves, COLOURS, strict=True):
        parts.append(_line([(x.at(polls), y.at(lag)) for polls, lag in curve.points], colour, 2))
    polls, lag = panel.shipped
    parts.append(f'<circle cx="{x.at(polls):.1f}" cy="{y.at(lag):.1f}" r="5" fill="{COLOURS[-1]}"/>')
    for name, (polls, lag) in panel.live.items():
        left, top = x.at(polls), y.at(lag)
        parts.append(f'<rect x="{left - 4:.1f}" y="{top - 4:.1f}" width="8" height="8"/>')
        parts.append(f'<text x="{left + 8:.1f}" y="{top + 4:.1f}">{escape(name)}, live</text>')
    return parts


def _line(points: Sequence[tuple[float, float]], colour: str, width: int) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
