"""What a terminal may be given: text. A hospital's own words must not steer it, nor pass for a line of ours.

Control characters (escape sequences, carriage returns), marks that turn the direction of writing and
separators of lines are spelled out, like ``\\u202e``. Source: Unicode categories Cc, Cf, Cs, Zl, Zp; Unicode
TR 36, section 2.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def plain(text: str, keep: str = "") -> str:
    """The text with every steering character spelled out, but for those to ``keep``.

    >>> plain("3.52\\u202e g/L\\x1b[2J")
    '3.52\\\\u202e g/L\\\\u001b[2J'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"\\u{ord(sign):04x}" if unicodedata.category(sign) in _STEERING and sign not in keep else sign
        for sign in text
    )


class Terminal(Console):
    """A console whose segments are plain, whatever was printed; its own styles stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text, keep="\n"), segment.style)
