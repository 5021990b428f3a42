"""Candles drawn with block characters: bodies by half rows, volume by eighths of a row. Pure.

Falling candles are drawn lighter, not only in another colour, for those who see no difference between red and green.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.text import Text

from . import words
from .content import Candle

STRIDE = 2  # columns of a candle, with the gap behind it
VOLUME_ROWS = 3
OTHER_ROWS = VOLUME_ROWS + 2  # and the marks, and the times
DAY_MS = 86_400_000
LABEL_EVERY = 4  # rows between two prices on the axis
UP, DOWN, DIM, MARK = "green", "red", "dim", "bold yellow"
EIGHTHS = " ▁▂▃▄▅▆▇█"
# By what the upper and the lower half of a cell hold: nothing, wick, body. A wick beside half a body is left out.
GLYPHS = {
    "  ": " ",
    "w ": "╵",
    " w": "╷",
    "ww": "│",
    "b ": "▀",
    "bw": "▀",
    " b": "▄",
    "wb": "▄",
    "bb": "█",
}
FALLING = "▒"  # in place of a whole cell of body
LEGEND = "█ up  ▒ down  • forming  r repaired  ! incomplete"


def fitting(width: int, axis: int = 11) -> int:
    """How many candles a terminal of ``width`` columns shows."""
    return max(1, (width - axis) // STRIDE)


def draw(candles: Sequence[Candle], width: int, height: int) -> list[Text]:
    """The newest ``candles`` that fit, in exactly ``height`` rows of at most ``width`` columns."""
    places = words.decimals(price for c in candles for price in (c.open, c.high, c.low, c.close))
    volumes = [c.volume or 0.0 for c in candles]
    axis = 2 + max(len(words.fixed(max(c.high for c in candles), places)), len(f"{max(volumes):,.4g}"))
    shown = candles[-fitting(width, axis) :]
    rows = max(3, height - OTHER_ROWS)
    return [
        *prices(shown, rows, places),
        marks(shown),
        *volume_bars(shown, VOLUME_ROWS),
        times(shown),
    ]


def prices(candles: Sequence[Candle], rows: int, places: int) -> list[Text]:
    """The candles and their axis; the newest price stands out on it."""
    low, high = min(c.low for c in candles), max(c.high for c in candles)
    halves = 2 * rows
    span = (high - low) or 1.0

    def half(price: float) -> int:
        """0 is the lowest half row."""
        return round((price - low) / span * (halves - 1))

    last_row = rows - 1 - half(candles[-1].close) // 2
    drawn = []
    for row in range(rows):
        line = Text()
        upper = 2 * (rows - 1 - row) + 1
        for candle in candles:
            inside = "".join(part(candle, at, half) for at in (upper, upper - 1))
            falls = candle.close < candle.open
            glyph = FALLING if falls and inside == "bb" else GLYPHS[inside]
            line.append(glyph.ljust(STRIDE), DOWN if falls else UP)
        if row == last_row:
            line.append(f"◄ {words.fixed(candles[-1].close, places)}", "bold")
        elif row % LABEL_EVERY == 0 or row == rows - 1:
            price = low + span * (upper - 0.5) / (halves - 1)
            price = high if row == 0 else low if row == rows - 1 else price
            line.append(f"┤ {words.fixed(price, places)}", DIM)
        else:
            line.append("│", DIM)
        drawn.append(line)
    return drawn


def part(candle: Candle, at: int, half: Callable[[float], int]) -> str:
    bottom, top = sorted((half(candle.open), half(candle.close)))
    if bottom <= at <= top:
        return "b"
    return "w" if half(candle.low) <= at <= half(candle.high) else " "


def marks(candles: Sequence[Candle]) -> Text:
    line = Text()
    for candle in candles:
        line.append(mark(candle).ljust(STRIDE), MARK)
    return line


def mark(candle: Candle) -> str:
    if not candle.closed:
        return "•"
    if not candle.complete:
        return "!"
    return "r" if candle.repaired else " "


def volume_bars(candles: Sequence[Candle], rows: int) -> list[Text]:
    """Bars as high as the volume; a volume above nothing shows at least an eighth."""
    most = max(c.volume or 0.0 for c in candles)
    drawn = []
    for row in range(rows):
        line = Text()
        for candle in candles:
            volume = candle.volume or 0.0
            eighths = max(1, round(8 * rows * volume / most)) if volume else 0
            inside = min(8, max(0, eighths - 8 * (rows - 1 - row)))
            line.append(EIGHTHS[inside].ljust(STRIDE), DOWN if candle.close < candle.open else UP)
        line.append(f"┤ {most:,.4g}" if row == 0 else "│", DIM)
        drawn.append(line)
    return drawn


def times(candles: Sequence[Candle]) -> Text:
    """Open times where there is room: of day, or dates where a candle is a day or more."""
    daily = len(candles) > 1 and candles[1].open_time_ms - candles[0].open_time_ms >= DAY_MS
    form = "%m-%d" if daily else "%H:%M"
    line = ""
    for index, candle in enumerate(candles):
        if index % 6 == 0 and index * STRIDE + 5 <= len(candles) * STRIDE:
            text = datetime.fromtimestamp(candle.open_time_ms / 1000, UTC).strftime(form)
            line = line.ljust(index * STRIDE) + text
    return Text(line, DIM)
