"""Figures and tables in the cell that asks for them: one look, and the words under each."""

from __future__ import annotations

import base64
import functools
import html
import io
import math
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from .._formatting import format_number
from .._notebook_cells import in_notebook

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.typing import ColorType
    from PIL.Image import Image

STYLE = Path(__file__).with_name("stablelab.mplstyle")
# The style sheet's colours by name, for what has the same colour in every figure, and the grey of its ink.
BLUE, VERMILLION, GREEN, PURPLE, GOLD, SKY = "#1479B8", "#D55E00", "#009E73", "#CC79A7", "#A88500", "#3A97CE"
GREY = "#7A7A7A"
DPI = 144  # of a PNG file, which is shown at 100: crisp on dense screens too
_SHOWN_DPI = 100
_COVERED = 0.95  # of the pixels, by the colours of a palette
_WIDTH = 110  # characters of a line of words
_PICTURE_INCHES = 1.85  # of the width that a picture gets, as long as no more than four stand in a row
_WIDEST = 8.0  # inches of a row of pictures
# Ground and ink are those of the page, so that a table is legible in the light and in the dark theme.
_CELL = f"border:1px solid {GREY};padding:3px 8px;text-align:left;vertical-align:top"
_HEADER = f"{_CELL};font-weight:bold;white-space:nowrap"
_drawing = threading.RLock()

P = ParamSpec("P")


# -- one look ----------------------------------------------------------------------------------------------------------


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of the workbook, whatever the notebook has set; afterwards its settings are there again.

    matplotlib has one set of settings for the whole process, so two threads draw one after the other.
    """
    import matplotlib.style

    with _drawing, matplotlib.style.context(_style()):
        yield


@functools.cache
def _style() -> dict[str, Any]:
    """The settings of the style sheet, read once: a picture that moves asks for them each time."""
    from matplotlib import rc_params_from_file

    return dict(rc_params_from_file(STYLE, use_default_template=False))


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that makes a figure, made to do so in the style of the workbook."""

    @functools.wraps(draw)
    def in_style(*arguments: P.args, **options: P.kwargs) -> Figure:
        with figure_style():
            figure = draw(*arguments, **options)
            for axes in figure.axes:
                for axis in (axes.xaxis, axes.yaxis):  # matplotlib makes ticks when it draws, as copies of the first
                    axis.get_major_ticks(1)
                    axis.get_minor_ticks(1)
        return figure

    return in_style


def to_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file on a transparent ground.

    Lines, cells and words need few colours, and a palette makes a notebook's pictures a third of the size; photographs
    keep all of theirs.
    """
    from PIL.Image import open as open_image

    drawn, out = io.BytesIO(), io.BytesIO()
    with figure_style():
        figure.savefig(drawn, format="png", dpi=DPI, facecolor="auto", pil_kwargs={"compress_level": 1})
    _with_palette(open_image(drawn).convert("RGBA")).save(out, format="png", optimize=True, dpi=(DPI, DPI))
    return out.getvalue()


def _with_palette(image: Image) -> Image:
    """The picture in its 256 most frequent colours, where these are nearly all of it; the others go to the nearest."""
    from PIL.Image import fromarray

    pixels = np.ascontiguousarray(image).view(np.uint32)  # (H, W, 1), a colour and its opacity in one number
    colours, positions, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    chosen = np.argsort(-counts, kind="stable")[:256]
    if counts[chosen].sum() < _COVERED * pixels.size:
        return image
    palette = colours[chosen].view(np.uint8)  # (4 K,)
    every = colours.view(np.uint8).reshape(-1, 4).astype(np.float32)  # (N, 4)
    every[:, :3] *= every[:, 3:] / 255  # what can hardly be seen may have another colour
    kept = every[chosen]
    distances = (kept**2).sum(axis=1)[:, None] - 2 * kept @ every.T  # (K, N) squared, up to a number for each colour
    nearest = distances.argmin(axis=0).astype(np.uint8)  # (N,)
    indexed = fromarray(nearest[positions].reshape(pixels.shape[:2]))
    indexed.putpalette(palette.tobytes(), "RGBA")
    return indexed


def contrast(one: ColorType, other: ColorType) -> float:
    """The contrast of two colours, from 1 (the same) to 21 (black on white).

    Source:
        W3C 2018, "Web Content Accessibility Guidelines 2.1", relative luminance and contrast ratio.
    """
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def ink_on(ground: ColorType) -> str:
    """Black or white, whichever is easier to read on this colour: a contrast of at least 4.5 to 1 on any."""
    return max("black", "white", key=lambda ink: contrast(ink, ground))


@functools.cache
def white_to_blue() -> Colormap:
    """The colours of shares and weights: white for 0, blue for the largest."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("white to blue", ["#FFFFFF", BLUE])


def _luminance(colour: ColorType) -> float:
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def label_powers(axes: Axes, which: str = "y") -> None:
    """Label a logarithmic axis at 1, 2 and 5 of a few decades, at powers of ten of many, as numbers are written here.

    Args:
        axes: with all its data.
        which: "x" or "y".
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = sorted(axis.get_view_interval())
    decades = math.log10(high / low) if 0 < low < high < math.inf else 1.0
    digits = (1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 2.5 else (1.0,)
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(FuncFormatter(lambda at, _: format_number(at)))
    axis.set_minor_formatter(NullFormatter())


# -- in the cell -------------------------------------------------------------------------------------------------------


def show(words: str, *, png: bytes = b"", markup: str = "") -> None:
    """Put a picture or a piece of HTML into the cell being executed, and print its words; only these in a script.

    Args:
        words: what the picture shows, numbers included.
        png: the bytes of a PNG file.
        markup: HTML, instead of a picture.
    """
    if in_notebook():
        from IPython.display import display

        data = {"text/html": markup, "text/plain": words} if markup else png_bundle(png, words)
        display(data, raw=True, metadata=png_size(png))
    print(textwrap.fill(words, _WIDTH, break_long_words=False, break_on_hyphens=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of texts, which are escaped here."""
    head = "".join(f'<th scope="col" style="{_HEADER}">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{html.escape(text)}</td>' for text in row) + "</tr>" for row in rows
    )
    return f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def png_bundle(picture: bytes | None, alt: str) -> dict[str, str]:
    """A picture and what it shows in words, as a cell takes them."""
    return {"image/png": base64.b64encode(picture or b"").decode("ascii"), "text/plain": alt}


def png_size(picture: bytes | None) -> dict[str, dict[str, int]]:
    """How large a picture is shown, as a cell's metadata; nothing where there is none."""
    if not picture:
        return {}
    from PIL.Image import open as open_image

    image = open_image(io.BytesIO(picture))
    scale = _SHOWN_DPI / image.info.get("dpi", (DPI, DPI))[0]
    return {"image/png": {"width": round(image.width * scale), "height": round(image.height * scale)}}


def show_pictures(pictures: Sequence[Any], titles: Sequence[str], across: int = 8) -> None:
    """Show pictures in rows, and print their titles.

    Args:
        pictures: each (H, W, 3) or (H, W) uint8, or a (3, H, W) uint8 tensor.
        titles: what stands above each.
        across: how many in a row.

    Raises:
        ValueError: not as many titles as pictures, or no picture at all.
    """
    if len(pictures) != len(titles) or not len(pictures):
        raise ValueError(f"there are {len(pictures)} pictures and {len(titles)} titles; give each picture a title")
    figure = pictures_figure([_channels_last(each) for each in pictures], titles, across)
    show(f"pictures: {'; '.join(' '.join(title.split()) for title in titles)}", png=to_png(figure))


@styled
def pictures_figure(pictures: Sequence[Any], titles: Sequence[str], across: int) -> Figure:
    """Pictures in rows of so many, (H, W, 3) or (H, W) each, with their titles."""
    from matplotlib.figure import Figure

    across = min(across, len(pictures))
    down = math.ceil(len(pictures) / across)
    side = min(_PICTURE_INCHES, _WIDEST / across)
    lines = max(title.count("\n") + 1 for title in titles)
    figure = Figure(figsize=(side * across, (side + 0.14 * lines) * down), layout="constrained")
    every = np.ravel(figure.subplots(down, across))
    for axes in every:
        axes.set_axis_off()
    for axes, picture, title in zip(every, pictures, titles, strict=False):
        draw_pixels(axes, picture)
        axes.set_title(title, fontsize=8, fontweight="normal")
    return figure


def draw_pixels(axes: Axes, picture: Any, **options: Any) -> Any:
    """Draw a picture (H, W, 3) or (H, W), small ones pixel by pixel; no grid, no ticks. Returns matplotlib's image."""
    smooth = "nearest" if max(np.shape(picture)[:2]) <= 64 else "auto"
    image = axes.imshow(picture, **{"cmap": "gray", "interpolation": smooth} | options)
    axes.grid(False)
    axes.set(xticks=(), yticks=())
    return image


def _channels_last(picture: Any) -> np.ndarray:
    array = np.asarray(picture)
    return array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] == 3 else array
