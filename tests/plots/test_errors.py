"""The confusion matrix and the most wrong examples, as a learner sees them."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stablelab._formatting import format_percent
from stablelab.plots import errors as diagnoses
from stablelab.plots.display import contrast, ink_on, to_png, white_to_blue
from stablelab.plots.errors import show_confusion, show_mistakes
from stablelab.training import Diagnosis


@dataclass
class Examples:
    raws: list[Any]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.raws)

    def raw(self, i: int) -> Any:
        return self.raws[i]


def diagnosis(C: int, n: int = 60, names: tuple[str, ...] = ()) -> Diagnosis:
    generator = torch.Generator().manual_seed(C)
    targets = torch.arange(n) % C
    logits = torch.randn(n, C, generator=generator) + 1.5 * torch.nn.functional.one_hot(targets, C)
    return Diagnosis(names or tuple(f"class {c}" for c in range(C)), logits, targets)


@pytest.mark.parametrize("C", [2, 10])
def test_the_confusion_matrix_has_every_count_and_names_both_axes(C: int) -> None:
    found = diagnosis(C)
    axes = diagnoses.confusion_figure(found).axes[0]
    written = np.array([int(text.get_text()) for text in axes.texts]).reshape(C, C)
    assert np.array_equal(written, found.confusion.numpy())
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(found.classes)
    shares = axes.images[0].get_array()
    assert np.asarray(shares).sum(axis=1).tolist() == pytest.approx([1] * C)


@pytest.mark.slow
def test_a_class_that_never_occurs_and_many_classes_are_drawn() -> None:
    absent = Diagnosis(("a", "b", "c"), torch.eye(3)[:2], torch.arange(2))
    assert np.asarray(diagnoses.confusion_figure(absent).axes[0].images[0].get_array())[2].tolist() == [0, 0, 0]
    many = diagnoses.confusion_figure(diagnosis(41, 82)).axes[0]
    assert not many.texts and len(to_png(many.figure)) < 100_000


def test_words_say_the_numbers() -> None:
    found = diagnosis(2, names=("bad", "good"))
    words = diagnoses.confusion_words(found)
    assert f"{found.accuracy:.3f}" in words
    assert f"bad {found.confusion[0, 0]} of 30, good {found.confusion[1, 1]} of 30" in words
    assert f"bad taken for good: {found.confusion[0, 1]}" in words


@pytest.mark.slow
def test_a_transparent_picture_goes_into_the_cell_and_its_words_under_it(shown, capsys) -> None:
    show_confusion(diagnosis(2))
    (data,) = shown
    assert data["text/plain"].startswith("confusion matrix: ")
    assert capsys.readouterr().out.split() == data["text/plain"].split()
    png = to_png(diagnoses.confusion_figure(diagnosis(2)))
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    assert pixels[0, 0, 3] == 0 and len(png) < 40_000


def test_numbers_are_legible_on_every_shade() -> None:
    for share in np.linspace(0, 1, 41):
        ground = white_to_blue()(share)
        assert contrast(ground, ink_on(ground)) >= 4.5


def test_sentences_become_a_table_in_which_nothing_is_markup(shown, capsys) -> None:
    found = diagnosis(2, names=("<b>bad</b>", "good & kind"))
    sentences = [f'<script>alert({i})</script> "it\'s" {i} & more' for i in range(60)]
    show_mistakes(found, Examples(sentences, found.targets), n=4)
    markup = shown[0]["text/html"]
    assert "<script" not in markup and "<b>" not in markup
    assert markup.count("<tr>") == 5
    first = found.most_wrong(1)[0]
    assert f"&lt;script&gt;alert({first})&lt;/script&gt; &quot;it&#x27;s&quot; {first} &amp; more" in markup
    sure = float(found.probabilities[first].max())
    share = format_percent(sure).replace(" ", "\N{NO-BREAK SPACE}")  # a line does not break inside of it
    assert f"({share})" in markup and "good &amp; kind" in markup
    assert "background" not in markup and "color:" not in markup, "ground and ink are those of the page"
    assert f"{first}: true " in capsys.readouterr().out


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.slow
def test_pictures_carry_both_classes_and_their_probabilities(n: int, shown) -> None:
    found = diagnosis(10)
    pictures = [np.full((8, 8, 3), i, dtype=np.uint8) for i in range(60)]
    positions = found.most_wrong(n)
    figure = diagnoses.mistakes_figure(found, positions, [pictures[i] for i in positions])
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == n
    for axes, i in zip(drawn, positions, strict=True):
        assert int(np.asarray(axes.images[0].get_array()).max()) == i
        true, said = (found.classes[int(c[i])] for c in (found.targets, found.predicted))
        p = found.probabilities[i]
        expected = rf"true {true} \({100 * p[found.targets[i]]:.0f}.* %\)\npredicted {said} \({100 * p.max():.0f}.* %\)"
        assert re.fullmatch(expected, axes.get_title(loc="left"))
    show_mistakes(found, Examples(pictures, found.targets), n=n)
    assert len(shown[0]["image/png"]) < 40_000 and f"the most wrong {n} of " in shown[0]["text/plain"]


def test_outside_a_notebook_words_are_printed(capsys) -> None:
    show_mistakes(Diagnosis(("a", "b"), torch.eye(2), torch.arange(2)), Examples(["x", "y"], torch.arange(2)))
    assert capsys.readouterr().out == "none of the 2 examples is wrong\n"


@pytest.mark.parametrize(
    ("split", "n", "message"),
    [
        (Examples(["a"] * 60, torch.arange(60) % 2), 0, "n is 0; it must be a whole number of examples, 1 or more"),
        (Examples(["a"] * 59, torch.arange(59) % 2), 4, "split is not the one that was diagnosed"),
        (Examples(["a"] * 60, torch.zeros(60)), 4, "split is not the one that was diagnosed"),
        (["a"] * 60, 4, r"split is list and has no raw\(i\)"),
    ],
)
def test_another_split_is_refused_in_one_line(split, n, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        show_mistakes(diagnosis(2), split, n)
    assert "\n" not in str(caught.value)
