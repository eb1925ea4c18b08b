"""Attributions and attention as a learner sees them."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stablelab.plots import attributions as insides
from stablelab.plots import display
from stablelab.plots.attributions import show_attention, show_attributions


@dataclass
class Found:
    tokens: tuple[str, ...]
    scores: Tensor
    picture: np.ndarray | None = None
    label: str = "good & <kind>"
    method: str = "integrated gradients"

    def __str__(self) -> str:
        return "the words of what was found"


@dataclass
class Maps:
    tokens: tuple[str, ...]

    def of(self, layer: int, head: int | None) -> Tensor:
        T = len(self.tokens)
        return torch.softmax(torch.arange(float(T * T)).view(T, T) % 7, dim=1)

    def called(self, layer: int, head: int | None) -> str:
        return f"layer {layer}, head {head}"

    def strongest(self, n: int, layer: int, head: int | None) -> list[tuple[str, str, float]]:
        return [("film", "good", 0.375)][:n]


SENTENCE = Found(("[CLS]", "<b>", "not", "good"), torch.tensor([0.0, 0.25, -2.0, 1.0]))
PICTURE = Found((), torch.linspace(-0.5, 1.5, 64).view(8, 8), np.full((8, 8, 3), 200, dtype=np.uint8), "7")
MAPS = Maps(("[CLS]", "a", "good", "film", "[SEP]"))


def test_every_token_has_its_score_and_nothing_is_markup() -> None:
    markup = insides.sentence_markup(SENTENCE)
    pieces = re.findall(r"background:(#\w+);color:(\w+)\">(.*?)<span[^>]*>([-+.\d]+)</span>", markup)
    assert [(token, score) for _, _, token, score in pieces] == [
        ("[CLS]", "+0.00"),
        ("&lt;b&gt;", "+0.25"),
        ("not", "-2.00"),
        ("good", "+1.00"),
    ]
    grounds = [ground.upper() for ground, *_ in pieces]
    assert grounds[0] == "#FFFFFF" and grounds[2] == display.VERMILLION, "0 is white, the largest has all the colour"
    blue = [int(grounds[3][i : i + 2], 16) for i in (1, 3, 5)]
    assert blue[2] > blue[1] > blue[0], "what is for the class is blue"
    assert "for good &amp; &lt;kind&gt;" in markup and "<kind>" not in markup and "<b>" not in markup
    grounds_and_inks = re.findall(r"background:(#\w+);color:(\w+)", markup)
    assert len(grounds_and_inks) == markup.count("background") == markup.count("color:") == len(pieces) + 2
    assert all(display.contrast(*pair) >= 4.5 for pair in grounds_and_inks), "legible in a dark notebook too"


def test_scores_of_nothing_are_white() -> None:
    markup = insides.sentence_markup(Found(("a", "b"), torch.zeros(2)))
    assert markup.count("background:#ffffff;color:black") == 2


def test_a_picture_stands_beside_its_scores() -> None:
    figure = insides.attributions_figure(PICTURE)
    left, right, bar = figure.axes
    assert np.array_equal(left.images[0].get_array(), PICTURE.picture)
    assert np.allclose(right.images[0].get_array(), PICTURE.scores)
    assert right.images[0].get_clim() == (-1.5, 1.5), "white is 0"
    assert right.get_title(loc="left") == "integrated gradients" and bar.get_ylabel() == "against 7  ·  for 7"
    pixels = np.asarray(Image.open(io.BytesIO(display.to_png(figure))).convert("RGBA"))
    assert pixels[0, 0, 3] == 0, "the ground is the page's"


@pytest.mark.parametrize("T", [5, 30])
def test_an_attention_map_has_the_tokens_on_both_axes(T: int) -> None:
    maps = Maps(tuple(f"token{i}" for i in range(T)))
    axes = insides.attention_figure(maps, 3, 1).axes[0]
    assert np.allclose(axes.images[0].get_array(), maps.of(3, 1))
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == list(maps.tokens)
    assert axes.get_title(loc="left") == "layer 3, head 1"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("looks at", "token")
    written = [float(text.get_text()) for text in axes.texts]
    assert written == ([] if T > 12 else pytest.approx(maps.of(3, 1).flatten().tolist(), abs=0.006))


@pytest.mark.slow
def test_words_go_with_every_picture(shown, capsys) -> None:
    show_attributions(SENTENCE)
    show_attributions(PICTURE)
    show_attention(MAPS, 2)
    assert [sorted(data) for data in shown] == [["text/html", "text/plain"], *[["image/png", "text/plain"]] * 2]
    words = "attention of layer 2, head None, 5 tokens. Looking the most at another: film at good with 0.38."
    assert [data["text/plain"] for data in shown] == ["the words of what was found"] * 2 + [words]
    assert capsys.readouterr().out.splitlines() == ["the words of what was found"] * 2 + [words]
    assert all(len(data.get("image/png", "")) < 40_000 for data in shown)
