"""What goes on inside a model, looked at: attributions over a sentence or a picture, and attention."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor

from .._formatting import one_line
from .display import BLUE, GREY, VERMILLION, draw_pixels, ink_on, show, styled, to_png, white_to_blue

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_NUMBERED = 12  # tokens whose weights have room for a number
_PIECE = "display:inline-block;margin:2px;padding:2px 5px;text-align:center;border-radius:3px"


class Attributed(Protocol):
    """What was found, such as ``models.attributions`` gives it."""

    @property
    def tokens(self) -> Sequence[str]: ...

    @property
    def scores(self) -> Tensor: ...

    @property
    def picture(self) -> np.ndarray | None: ...

    @property
    def label(self) -> str: ...

    @property
    def method(self) -> str: ...


class Attending(Protocol):
    """What was found, such as ``models.attention_maps`` gives it."""

    @property
    def tokens(self) -> Sequence[str]: ...

    def of(self, layer: int, head: int | None) -> Tensor:
        """(T, T), rows look at columns."""

    def called(self, layer: int, head: int | None) -> str:
        """The layer and the head in words."""

    def strongest(self, n: int, layer: int, head: int | None) -> list[tuple[str, str, float]]:
        """(who looks, at whom, weight)."""


def show_attributions(found: Attributed) -> None:
    """Show which tokens or pixels spoke for the class (blue) and which against it (vermillion).

    Args:
        found: from ``attributions``.
    """
    if found.picture is None:
        show(str(found), markup=sentence_markup(found))
    else:
        show(str(found), png=to_png(attributions_figure(found)))


def show_attention(maps: Attending, layer: int = -1, head: int | None = None) -> None:
    """Show one attention map: a row per token that looks, a column per token it looks at; a row sums to 1.

    Args:
        maps: from ``attention_maps``.
        layer: from 0, the one next to the input; -1 for the last.
        head: likewise; None for the mean of the layer's heads.

    Raises:
        ValueError: there is no such layer or head.
    """
    show(attention_words(maps, layer, head), png=to_png(attention_figure(maps, layer, head)))


def sentence_markup(found: Attributed) -> str:
    """The sentence as HTML: each token on its colour, its score under it."""
    scores = found.scores.tolist()
    largest = _largest(scores)
    pieces = "".join(
        _piece(html.escape(token) + f'<span style="display:block;font-size:10px">{score:+.2f}</span>', score / largest)
        for token, score in zip(found.tokens, scores, strict=True)
    )
    label = html.escape(one_line(found.label, 40))
    key = f"{_piece(f'against {label}', -1.0)} {_piece(f'for {label}', 1.0)}"
    legend = f"{key} {html.escape(found.method)}, in units of the logit"
    return (
        f'<div style="max-width:900px"><div style="line-height:1.3">{pieces}</div>'
        f'<div style="font-size:11px;margin-top:6px">{legend}</div></div>'
    )


@styled
def attributions_figure(found: Attributed) -> Figure:
    """The picture, and beside it the score of each pixel: blue for the class, vermillion against it, white for 0."""
    from matplotlib.figure import Figure

    assert found.picture is not None
    picture, scores = np.asarray(found.picture), found.scores.numpy()  # (H, W, 3), (H, W)
    figure = Figure(figsize=(6.4, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    largest = _largest(scores)
    draw_pixels(left, picture)
    image = draw_pixels(right, scores, cmap=_against_and_for(), vmin=-largest, vmax=largest)
    for axes, title in ((left, "the picture"), (right, found.method)):
        axes.set_title(title, fontsize=9)
        axes.spines[:].set(visible=True, color=GREY)
    bar = figure.colorbar(image, ax=right, fraction=0.05, pad=0.03, ticks=(-largest, 0, largest), format="{x:+.2g}")
    label = one_line(found.label, 18)
    bar.set_label(f"against {label}  ·  for {label}", fontsize=8)
    bar.outline.set_visible(False)
    return figure


@styled
def attention_figure(maps: Attending, layer: int = -1, head: int | None = None) -> Figure:
    """One attention map with the tokens on both axes."""
    from matplotlib.figure import Figure

    weights, tokens = maps.of(layer, head).numpy(), [one_line(token, 16) for token in maps.tokens]
    T = len(tokens)
    side = min(9.0, max(3.6, 1.4 + 0.27 * T))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(weights, cmap=white_to_blue(), vmin=0, vmax=max(float(weights.max()), 1e-12))
    for i, j in np.ndindex(T, T) if T <= _NUMBERED else ():
        ground = image.cmap(image.norm(weights[i, j]))
        axes.text(j, i, f"{weights[i, j]:.2f}", ha="center", va="center", fontsize=6.5, color=ink_on(ground))
    axes.grid(False)
    axes.set_title(maps.called(layer, head), fontsize=9)
    axes.set_xticks(range(T), tokens, rotation=90)
    axes.set_yticks(range(T), tokens)
    axes.set_xlabel("looks at")
    axes.set_ylabel("token")
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    bar.set_label("attention weight (a row sums to 1)", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def attention_words(maps: Attending, layer: int = -1, head: int | None = None) -> str:
    """An attention map in words: its three strongest links."""
    links = "; ".join(f"{who} at {whom} with {weight:.2f}" for who, whom, weight in maps.strongest(3, layer, head))
    return f"attention of {maps.called(layer, head)}, {len(maps.tokens)} tokens. Looking the most at another: {links}."


@cache
def _against_and_for() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    # An odd number of colours, so that 0 is white.
    return LinearSegmentedColormap.from_list("against and for", [VERMILLION, "#FFFFFF", BLUE], N=257)


def _piece(markup: str, score: float) -> str:
    """Markup on the colour of a score from -1 to 1."""
    from matplotlib.colors import to_hex

    ground = to_hex(_against_and_for()((score + 1) / 2))
    return f'<span style="{_PIECE};background:{ground};color:{ink_on(ground)}">{markup}</span>'


def _largest(scores: Any) -> float:
    """The largest size of a score; 1 where all are 0."""
    return float(np.abs(scores).max()) or 1.0
