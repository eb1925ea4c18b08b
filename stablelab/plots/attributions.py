"""What goes on inside a model, looked at: attributions over a sentence or a picture, and attention."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_hex
from matplotlib.figure import Figure
from torch import Tensor

from .._formatting import one_line
from . import training_curves as figures
from .display import ink_on, show
from .training_curves import BLUE, DPI, GRID, INK, VERMILLION

# An odd number of colours, so that 0 is white.
_FOR_AND_AGAINST = LinearSegmentedColormap.from_list("for and against", [VERMILLION, "#FFFFFF", BLUE], N=257)
_WEIGHT = LinearSegmentedColormap.from_list("weight", ["#FFFFFF", BLUE])
_NUMBERED = 12  # tokens whose weights have room for a number
_GROUND = f"background:#FFFFFF;color:{INK};border:1px solid {GRID};padding:8px 10px;max-width:900px"
_PIECE = "display:inline-block;margin:2px;padding:2px 5px;text-align:center;border-radius:3px"


class Attributed(Protocol):
    """What was found, such as the zoo's ``attributions`` gives it."""

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
    """What was found, such as the zoo's ``attention_maps`` gives it."""

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
        show(str(found), png=figures.to_png(picture_figure(found)))


def show_attention(maps: Attending, layer: int = -1, head: int | None = None) -> None:
    """Show one attention map: a row per token that looks, a column per token it looks at; a row sums to 1.

    Args:
        maps: from ``attention_maps``.
        layer: from 0, the one next to the input; -1 for the last.
        head: likewise; None for the mean of the layer's heads.

    Raises:
        ValueError: there is no such layer or head.
    """
    show(attention_words(maps, layer, head), png=figures.to_png(attention_figure(maps, layer, head)))


def sentence_markup(found: Attributed) -> str:
    """The sentence as HTML: each token on its colour, its score under it."""
    scores = found.scores.tolist()
    strength = Normalize(-_largest(scores), _largest(scores))
    pieces = [_piece(token, score, strength(score)) for token, score in zip(found.tokens, scores, strict=True)]
    label = html.escape(one_line(found.label, 40))
    key = " ".join(_key(text, at) for text, at in ((f"against {label}", 0.0), (f"for {label}", 1.0)))
    legend = f"{key} {html.escape(found.method)}, in units of the logit"
    return (
        f'<div style="{_GROUND}"><div style="line-height:1.3">{"".join(pieces)}</div>'
        f'<div style="font-size:11px;margin-top:6px">{legend}</div></div>'
    )


def picture_figure(found: Attributed) -> Figure:
    """The picture, and beside it the score of each pixel: blue for the class, vermillion against it, white for 0."""
    assert found.picture is not None
    picture, scores = np.asarray(found.picture), found.scores.numpy()  # (H, W, 3), (H, W)
    figure = Figure(figsize=(6.4, 3.1), dpi=DPI, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    look = "nearest" if max(scores.shape) <= 64 else "auto"
    left.imshow(picture, cmap="gray", interpolation=look)
    largest = _largest(scores)
    image = right.imshow(scores, cmap=_FOR_AND_AGAINST, vmin=-largest, vmax=largest, interpolation=look)
    for axes, title in ((left, "the picture"), (right, found.method)):
        axes.set_title(title, loc="left", fontsize=9, fontweight="bold", color=INK)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(GRID)
    bar = figure.colorbar(image, ax=right, fraction=0.05, pad=0.03, ticks=(-largest, 0, largest), format="{x:+.2g}")
    label = one_line(found.label, 18)
    bar.set_label(f"against {label}  ·  for {label}", fontsize=8, color=INK)
    bar.ax.tick_params(length=0, labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    return figure


def attention_figure(maps: Attending, layer: int = -1, head: int | None = None) -> Figure:
    """One attention map with the tokens on both axes."""
    weights, tokens = maps.of(layer, head).numpy(), [one_line(token, 16) for token in maps.tokens]
    T = len(tokens)
    side = min(9.0, max(3.6, 1.4 + 0.27 * T))
    figure = Figure(figsize=(side + 0.8, side), dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.subplots()
    image = axes.imshow(weights, cmap=_WEIGHT, vmin=0, vmax=max(float(weights.max()), 1e-12))
    for i, j in np.ndindex(T, T) if T <= _NUMBERED else ():
        ground = image.cmap(image.norm(weights[i, j]))
        axes.text(j, i, f"{weights[i, j]:.2f}", ha="center", va="center", fontsize=6.5, color=ink_on(ground))
    axes.set_title(maps.called(layer, head), loc="left", fontsize=9, fontweight="bold", color=INK)
    axes.set_xticks(range(T), tokens, rotation=90)
    axes.set_yticks(range(T), tokens)
    axes.tick_params(length=0, labelsize=7.5, colors=INK)
    axes.set_xlabel("looks at", fontsize=9, color=INK)
    axes.set_ylabel("token", fontsize=9, color=INK)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    bar.set_label("attention weight (a row sums to 1)", fontsize=8, color=INK)
    bar.ax.tick_params(length=0, labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    return figure


def attention_words(maps: Attending, layer: int = -1, head: int | None = None) -> str:
    """An attention map in words: its three strongest links."""
    links = "; ".join(f"{who} at {whom} with {weight:.2f}" for who, whom, weight in maps.strongest(3, layer, head))
    return f"attention of {maps.called(layer, head)}, {len(maps.tokens)} tokens. Looking the most at another: {links}."


def _piece(token: str, score: float, at: Any) -> str:
    ground = to_hex(_FOR_AND_AGAINST(at))
    text = html.escape(token)
    small = f'<span style="display:block;font-size:10px">{score:+.2f}</span>'
    return f'<span style="{_PIECE};background:{ground};color:{ink_on(ground)}">{text}{small}</span>'


def _key(text: str, at: float) -> str:
    ground = to_hex(_FOR_AND_AGAINST(at))
    return f'<span style="{_PIECE};background:{ground};color:{ink_on(ground)}">{text}</span>'


def _largest(scores: Any) -> float:
    """The largest size of a score; 1 where all are 0."""
    return float(np.abs(scores).max()) or 1.0
