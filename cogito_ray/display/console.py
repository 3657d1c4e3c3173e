"""The two consoles on which everything is shown, of a terminal, a pipe or a notebook."""

import sys
from collections.abc import Iterator
from io import StringIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

PIPED = None if sys.stdout.isatty() else 160
"""Columns where no terminal says how many it has."""
CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
CONTROL |= dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
"""Control characters -> what is shown in their place: they could colour, move or turn round what a terminal shows."""
HTML = '<pre style="line-height: normal; font-family: monospace">{code}</pre>'


class SafeConsole(Console):
    """Shows control characters of names, files and ledgers instead of obeying them."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """As rich renders it, but with control characters that stand in a text made harmless."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=segment.text.translate(CONTROL))


out, err = (
    SafeConsole(stderr=where, markup=False, emoji=False, highlight=False, soft_wrap=True, width=PIPED)
    for where in (False, True)
)
"""Show everything as it is: names may hold brackets."""


def as_html(shown: RenderableType) -> str:
    """What a terminal would show, for a notebook's cell."""
    page = SafeConsole(
        record=True, file=StringIO(), width=160, markup=False, emoji=False, highlight=False, force_jupyter=False
    )
    page.print(shown)
    return page.export_html(inline_styles=True, code_format=HTML)
