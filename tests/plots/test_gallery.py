from __future__ import annotations

import numpy as np
import pytest
import torch

from stablelab.plots import show_pictures
from stablelab.plots.gallery import pictures_figure


def test_pictures_stand_in_rows_each_under_its_title() -> None:
    pictures = [np.full((8, 8), 20 * i, dtype=np.uint8) for i in range(5)]
    figure = pictures_figure(pictures, [f"number {i}" for i in range(5)], across=3)
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(figure.axes) == 6 and [axes.get_title(loc="left") for axes in drawn] == [f"number {i}" for i in range(5)]
    assert [int(axes.images[0].get_array().max()) for axes in drawn] == [0, 20, 40, 60, 80]


def test_tensors_with_channels_first_are_turned_and_a_script_reads_the_titles(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_pictures(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), ["a\nb", "c"], across=2)
    assert capsys.readouterr().out == "pictures: a b; c\n"


@pytest.mark.parametrize(("n", "titles"), [(2, ["one"]), (0, [])])
def test_a_picture_without_a_title_is_refused(n: int, titles: list[str]) -> None:
    with pytest.raises(ValueError, match=f"there are {n} pictures and {len(titles)} titles"):
        show_pictures(torch.zeros(n, 3, 8, 8, dtype=torch.uint8), titles)
