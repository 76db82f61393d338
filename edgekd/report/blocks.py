"""What a page is made of: sections of figures, tables and sentences. Knows no record."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from edgekd.report.svg import NARROW, WIDE

Tone = Literal["", "passed", "failed", "inconclusive", "quiet"]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    numeric: bool = False  # set flush right


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    order: float | None = None  # what it is sorted by; None: its text
    tone: Tone = ""
    code: bool = False  # a hash or a file: set in a fixed pitch
    whole: str = ""  # shown under the pointer where the text is shortened


@dataclass(frozen=True)
class Table:
    """A table; each row's first cell is its heading."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = True
    kind: ClassVar[str] = "table"

    @property
    def told(self) -> "Table":
        """The table without the columns that are empty in every row."""
        kept = [
            place
            for place in range(len(self.columns))
            if place == 0 or not self.rows or any(row[place].text for row in self.rows)
        ]
        return replace(
            self,
            columns=tuple(self.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in self.rows),
        )


@dataclass(frozen=True)
class Figure:
    """A chart with what it shows in a sentence."""

    title: str
    caption: str
    wide: str  # SVG
    narrow: str = ""  # SVG for small screens; empty: the other fits there too
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Panels:
    """Small charts side by side."""

    figures: tuple[Figure, ...]
    kind: ClassVar[str] = "panels"


@dataclass(frozen=True)
class Picture:
    """An image with its label, and what one model takes it for."""

    png: str  # base64
    alt: str
    label: str
    taken_for: str
    whose: str  # who takes it for that


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side."""

    title: str
    caption: str
    pictures: tuple[Picture, ...]
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True)
class Note:
    """A sentence."""

    text: str
    tone: Tone = ""
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Code:
    """A text to be shown as it is."""

    text: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Folded:
    """Blocks that are opened on demand; printed all the same."""

    summary: str
    blocks: tuple["Block", ...]
    kind: ClassVar[str] = "folded"


Block = Table | Figure | Panels | Gallery | Note | Heading | Code | Folded


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading."""

    slug: str  # for anchors
    title: str
    blocks: tuple[Block, ...] = field(default=())


def both_widths(title: str, caption: str, draw: Callable[[int], str]) -> Figure:
    """Return a figure that is drawn for wide and for narrow screens."""
    return Figure(title, caption, draw(WIDE), draw(NARROW))


def number(text: str, order: float | None, tone: Tone = "") -> Cell:
    """Return a cell that is sorted by a number; None sorts last."""
    return Cell(text, order=float("inf") if order is None else order, tone=tone)
