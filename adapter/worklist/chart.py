"""A timeline as static SVG: it prints, needs no script, and says in words what it draws.

Drawn here rather than by a library: those we tried write inline styles or need a script, which the pages'
content security policy refuses, and none draws a value that is known only as "< 0.15"
(docs/decisions/charts.md). Colours come from the style sheet by class and are never the only sign: exact
values are filled, bounds are open triangles that point to where the value lies, ranges are bars, a second
method has squares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from fractions import Fraction
from html import escape
from typing import Any

from adapter.model.quantity import Interval
from adapter.worklist.timeline import Happening, Panel, Point, Timeline

WIDTH = 1000
_LEFT, _RIGHT, _HEAD, _BOTTOM = 172, 150, 10, 30
_PANEL, _GAP = 92, 14
_NAME_ROWS, _ROW = 3, 16
Words = Callable[..., str]
Height = Callable[[Fraction], float]


def draw(shown: Timeline, say: Words, names: Mapping[str, str], key: str = "chart") -> str:
    """The whole chart; ``say`` gives the texts ``chart.*`` of a language, ``names`` those of concepts and
    events. ``key`` makes ids on a page unlike each other."""
    return "\n".join(_Chart(shown, say, names, key).lines())


def readable(unit: str) -> str:
    """UCUM for eyes: ``mL/min/{1.73_m2}`` is ``mL/min/1.73 m²``."""
    return unit.replace("{1.73_m2}", "1.73 m²").replace("{RU}", "RU").replace("_", " ")


def _tag(kind: str, text: str = "", title: str = "", **attributes: object) -> str:
    """One element, everything quoted; ``_class`` and ``text_anchor`` become ``class`` and ``text-anchor``."""
    names = {key.strip("_").replace("_", "-"): value for key, value in attributes.items()}
    said = "".join(f' {key}="{escape(str(value))}"' for key, value in names.items())
    inner = escape(text) + (f"<title>{escape(title)}</title>" if title else "")
    return f"<{kind}{said}>{inner}</{kind}>" if inner else f"<{kind}{said}/>"


class _Chart:
    def __init__(self, shown: Timeline, say: Words, names: Mapping[str, str], key: str) -> None:
        self.shown = shown
        self.say = say
        self.names = names
        self.key = key
        self.days = max((shown.last - shown.first).days, 1)
        self.right = WIDTH - _RIGHT
        self.labels = self._labels()
        self.top = _HEAD + _ROW * max((row + 1 for _, row in self.labels if row is not None), default=0)
        self.bottom = self.top + len(shown.panels) * (_PANEL + _GAP) - _GAP

    def x(self, day: date) -> float:
        return round(_LEFT + (self.right - _LEFT) * (day - self.shown.first).days / self.days, 1)

    def lines(self) -> Iterator[str]:
        labels = f'aria-labelledby="{self.key}-title {self.key}-desc"'
        size = f'viewBox="0 0 {WIDTH} {self.bottom + _BOTTOM}"'
        yield f'<svg class="chart" {size} role="img" {labels} xmlns="http://www.w3.org/2000/svg">'
        yield _tag("title", self.say("chart.title"), id=f"{self.key}-title")
        yield _tag("desc", self._description(), id=f"{self.key}-desc")
        for number, panel in enumerate(self.shown.panels):
            yield from self._panel(panel, self.top + number * (_PANEL + _GAP))
        yield from self._happenings()
        for day in _dates(self.shown.first, self.shown.last):
            at = self.x(day)
            yield _tag("line", _class="axis", x1=at, x2=at, y1=self.bottom, y2=self.bottom + 5)
            yield _tag("text", f"{day:%Y-%m}", _class="tick", x=at, y=self.bottom + 20, text_anchor="middle")
        yield "</svg>"

    def _description(self) -> str:
        told = [self.say("chart.from-to", first=self.shown.first, last=self.shown.last)]
        for panel in self.shown.panels:
            drawn = self.drawn(panel)
            if drawn:
                value = f"{drawn[-1].shown} {readable(panel.unit)}".strip()
                blanks = {"name": self._name(panel), "n": len(drawn), "value": value, "day": drawn[-1].day}
                told.append(self.say("chart.panel", **blanks))
        return " ".join(told)

    def _name(self, panel: Panel) -> str:
        name = ", ".join(self.names.get(one, one) for one in panel.concept.split())
        return self.say("chart.dose-of", name=name) if panel.dose else name

    def drawn(self, panel: Panel) -> list[Point]:
        return [
            point
            for point in panel.points
            if not point.excluded and point.value is not None and point.day >= self.shown.first
        ]

    def _panel(self, panel: Panel, top: int) -> Iterator[str]:
        drawn = self.drawn(panel)
        high = _highest(panel, drawn)
        wide = self.right - _LEFT

        def y(value: Fraction) -> float:
            return round(top + _PANEL - float(value / high) * _PANEL, 1)

        yield _tag("rect", _class="frame", x=_LEFT, y=top, width=wide, height=_PANEL)
        words = [*_wrapped(self._name(panel)), readable(panel.unit)]
        for number, line in enumerate(words):
            kind = "unit" if number == len(words) - 1 else "name"
            place: dict[str, Any] = {"x": _LEFT - 40, "y": top + 22 + number * 17, "text_anchor": "end"}
            yield _tag("text", line, _class=kind, **place)
        for value in _ticks(high):
            at = y(value)
            yield _tag("line", _class="grid", x1=_LEFT, x2=self.right, y1=at, y2=at)
            yield _tag("text", _number(value), _class="tick", x=_LEFT - 6, y=at + 4, text_anchor="end")
        if panel.band is not None:
            upper = y(min(panel.band.high, high)) if panel.band.high is not None else top
            lower = y(panel.band.low) if panel.band.low is not None else top + _PANEL
            title = self.say("chart.target", text=panel.band.text)
            across: dict[str, Any] = {
                "x": _LEFT,
                "y": upper,
                "width": wide,
                "height": round(max(lower - upper, 2), 1),
            }
            yield _tag("rect", title=title, _class="band", **across)
        yield from self._limits(panel, high, y)
        yield from (self._steps if panel.dose else self._curves)(panel, drawn, y)

    def _limits(self, panel: Panel, high: Fraction, y: Height) -> Iterator[str]:
        taken: list[float] = []
        for value in sorted({one.value for one in panel.limits if one.value <= high}):
            limits = [one for one in panel.limits if one.value == value]
            at = y(value)
            yield _tag("line", _class="limit", x1=_LEFT, x2=self.right, y1=at, y2=at)
            place = at + 4
            while any(abs(place - other) < 12 for other in taken):
                place -= 12
            taken.append(place)
            names = list(dict.fromkeys(self.names.get(name, name) for one in limits for name in one.names))
            text = f"{_number(value)}  {', '.join(names[:2])}{' …' if len(names) > 2 else ''}"
            title = "; ".join(one.text for one in limits)
            yield _tag("text", text, title, _class="limit-name", x=self.right + 6, y=round(place, 1))

    def _labels(self) -> list[tuple[Happening, int | None]]:
        """Each happening shown with the row of its name above the panels, None where there is no room."""
        edges = [0.0] * _NAME_ROWS
        found: list[tuple[Happening, int | None]] = []
        for one in self.shown.happenings:
            if self.shown.first <= one.day <= self.shown.last:
                at, name = self.x(one.day), self.names.get(one.name, one.name)
                row = next((number for number, edge in enumerate(edges) if at >= edge), None)
                if row is not None:
                    edges[row] = at + 6 + sum(12.0 if ord(letter) > 0x2E7F else 6.5 for letter in name)
                found.append((one, row))
        return found

    def _happenings(self) -> Iterator[str]:
        for one, row in self.labels:
            at, name = self.x(one.day), self.names.get(one.name, one.name)
            place: dict[str, Any] = {
                "x1": at,
                "x2": at,
                "y1": self.top - 6 - (row or 0) * _ROW,
                "y2": self.bottom,
            }
            yield _tag("line", title=self._told(one, name), _class=one.kind, **place)
            if row is not None:
                yield _tag("text", name, _class=f"{one.kind}-name", x=at + 2, y=self.top - 4 - row * _ROW)

    def _told(self, one: Happening, name: str) -> str:
        window = f" ({one.window[0]} – {one.window[1]})" if one.window else ""
        return f"{name}: {one.day}{window} {one.reference}".strip()

    def _curves(self, panel: Panel, drawn: list[Point], y: Height) -> Iterator[str]:
        """Readings of one method joined by a line; another method has its own line and squares."""
        for number, method in enumerate(sorted({point.method for point in drawn})):
            own = [point for point in drawn if point.method == method]
            if len(own) > 1:
                path = " ".join(f"{self.x(point.day)},{y(_place(point.value))}" for point in own)
                yield _tag("polyline", _class="curve other" if number else "curve", points=path)
            for point in own:
                yield self._sign(panel, point, y, other=bool(number))

    def _steps(self, panel: Panel, drawn: list[Point], y: Height) -> Iterator[str]:
        """A daily dose holds until the next one."""
        path: list[str] = []
        before = [point for point in panel.points if point.day < self.shown.first][-1:]
        level = y(_place(before[0].value)) if before else None
        if level is not None:
            path.append(f"{_LEFT},{level}")
        for point in drawn:
            at = self.x(point.day)
            path += [f"{at},{level}"] if level is not None else []
            level = y(_place(point.value))
            path.append(f"{at},{level}")
        if level is not None:
            path.append(f"{self.right},{level}")
        yield _tag("polyline", _class="steps", points=" ".join(path))
        for point in drawn:
            yield self._sign(panel, point, y, other=False)

    def _sign(self, panel: Panel, point: Point, y: Height, *, other: bool) -> str:
        """The sign of one reading, with its words for who points at it."""
        at, value = self.x(point.day), point.value
        told = f"{point.when}: {point.shown} {readable(panel.unit)}"
        more = [f"({point.original})" if point.original else "", point.method, point.reference]
        title = " ".join([told, *filter(None, more)])
        level = y(_place(value))
        if value is None or value.point is not None:
            if other:
                box: dict[str, Any] = {
                    "x": round(at - 3.5, 1),
                    "y": round(level - 3.5, 1),
                    "width": 7,
                    "height": 7,
                }
                return _tag("rect", title=title, _class="exact other", **box)
            return _tag("circle", title=title, _class="exact", cx=at, cy=level, r=4)
        if value.low is not None and value.high is not None:
            top, end = y(value.high), y(value.low)
            bar: dict[str, Any] = {
                "x": round(at - 3, 1),
                "y": top,
                "width": 6,
                "height": round(max(end - top, 2), 1),
            }
            return _tag("rect", title=title, _class="bounded", **bar)
        tip = round(level + (9 if value.low is None else -9), 1)
        shape = f"M{at - 5.5:.1f} {level} L{at + 5.5:.1f} {level} L{at} {tip} Z"
        return _tag("path", title=title, _class="bounded", d=shape)


def _place(value: Interval | None) -> Fraction:
    """Where a value is drawn: itself, the end that is known, or the middle of a range."""
    if value is None:
        return Fraction(0)
    if value.low is not None and value.high is not None:
        return (value.low + value.high) / 2
    return value.high if value.high is not None else value.low or Fraction(0)


def _highest(panel: Panel, drawn: list[Point]) -> Fraction:
    """The top of the panel, above the highest reading and the limits near it; the foot is zero."""
    ends = [_place(point.value) for point in drawn]
    ends += [point.value.high for point in drawn if point.value and point.value.high is not None]
    ends += [panel.band.high] if panel.band and panel.band.high is not None else []
    near = max(ends, default=Fraction(1)) * Fraction(5, 4)
    ends += [limit.value for limit in panel.limits if limit.value <= near]
    return max(ends, default=Fraction(0)) * Fraction(11, 10) or Fraction(1)


def _ticks(high: Fraction) -> list[Fraction]:
    """Zero and two to four round numbers: 1, 2 or 5 times a power of ten apart."""
    power = Fraction(1, 1000)
    while power * 10 <= high / 3:
        power *= 10
    step = next(power * many for many in (1, 2, 5, 10) if power * many >= high / 4)
    return [step * number for number in range(int(high / step) + 1)]


def _number(value: Fraction) -> str:
    return f"{float(value):g}"


def _wrapped(name: str, width: int = 16) -> list[str]:
    """Lines for the margin; Chinese breaks anywhere, and its letters are twice as wide."""
    if any(ord(letter) > 0x2E7F for letter in name):
        return [name[at : at + 10] for at in range(0, len(name), 10)]
    lines = [""]
    for word in name.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _dates(first: date, last: date) -> Iterator[date]:
    """The first days of months, ten at most, evenly apart."""
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    step = next((many for many in (1, 2, 3, 4, 6, 12) if months / many <= 10), 24)
    for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        day = date(number // 12, number % 12 + 1, 1)
        if number % step == 0 and first - timedelta(days=1) < day <= last:
            yield day
