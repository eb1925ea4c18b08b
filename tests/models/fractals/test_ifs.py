from __future__ import annotations

import pytest
import torch

from stablelab.data.tasks import generator_for
from stablelab.models.fractals.ifs import (
    FILLING,
    STRETCH,
    Systems,
    counts,
    fractal_images,
    framed,
    grey,
    orbits,
    systems,
    varied,
)


def system(*maps: tuple[float, ...]) -> Systems:
    """One system with equal chances."""
    table = torch.zeros(1, 8, 6)
    table[0, : len(maps)] = torch.tensor(maps)
    return Systems(table, (torch.arange(8) < len(maps)).float().unsqueeze(0) / len(maps))


@pytest.mark.slow
def test_pictures_have_a_class_each_and_depend_on_the_seed_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    pictures, targets = fractal_images(classes=3, variations=4, size=24, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert pictures.shape == (12, 3, 24, 24) and pictures.dtype == torch.uint8
    assert targets.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    again, _ = fractal_images(classes=3, variations=4, size=24, seed=1)
    other, _ = fractal_images(classes=3, variations=4, size=24, seed=2)
    assert torch.equal(pictures, again) and not torch.equal(pictures, other)
    assert all(picture.max() > 128 and picture.float().mean() < 128 for picture in pictures)  # white on black


def test_more_classes_leave_the_first_ones_as_they_are() -> None:
    few, many = systems(3, seed=4), systems(200, seed=4)
    assert len(few) == 3 and len(many) == 200
    assert torch.equal(few.maps, many.maps[:3]) and torch.equal(few.chances, many.chances[:3])


def test_systems_contract_and_fill_what_was_asked_for() -> None:
    found = systems(60, seed=0)
    norms = torch.linalg.matrix_norm(found.maps[..., :4].unflatten(-1, (2, 2)), 2)
    assert norms.max() < STRETCH
    assert found.maps.abs().max() <= 1
    torch.testing.assert_close(found.chances.sum(1), torch.ones(60))
    number = (found.chances > 0).sum(1)
    assert number.min() >= 2 and number.max() <= 8 and len(number.unique()) > 3
    drawn = counts(framed(orbits(found, 32, generator_for(99))), 32)
    touched = (drawn > 0).float().mean((1, 2))
    assert touched.min() > FILLING[0] - 0.03 and touched.max() < FILLING[1] + 0.03  # other points, the same picture


def test_a_maps_chance_is_its_share_of_the_area() -> None:
    found = systems(40, seed=2)
    a, b, c, d = found.maps[..., :4].unbind(-1)
    area = (a * d - b * c).abs().clamp(min=0.01) * (found.chances > 0)
    torch.testing.assert_close(found.chances, area / area.sum(1, keepdim=True))


def test_the_chaos_game_comes_to_the_known_attractor() -> None:
    """Sierpinski's triangle: three maps that halve the way to a corner; no point in the middle fourth."""
    corners = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    points = orbits(system(*((0.5, 0.0, 0.0, 0.5, x / 2, y / 2) for x, y in corners)), 32, generator_for(0))[0]
    x, y = points.double().unbind(1)
    assert points.min() >= 0 and (x + y).max() <= 1 + 1e-6
    hole = (x < 0.5) & (y < 0.5) & (x + y > 0.5)
    assert not hole.any()
    thirds = torch.stack([x >= 0.5, y >= 0.5, (x < 0.5) & (y < 0.5)]).double().mean(1)
    torch.testing.assert_close(thirds, torch.full((3,), 1 / 3, dtype=torch.double), atol=0.05, rtol=0)


def test_one_map_alone_ends_at_its_fixed_point() -> None:
    """x' = x/2 + 1 and y' = -y/2 + 3 stand still at (2, 2)."""
    points = orbits(system((0.5, 0.0, 0.0, -0.5, 1.0, 3.0)), 32, generator_for(0))
    assert (points - 2).abs().max() < 1e-3


def test_variations_stay_near_their_formula() -> None:
    formulas = systems(5, seed=0)
    every = varied(formulas, 6, seed=0)
    assert len(every) == 30
    for c in range(5):
        assert torch.equal(every.maps[6 * c], formulas.maps[c])
        ratio = every.maps[6 * c + 1 : 6 * c + 6, :, 4:] / formulas.maps[c, :, 4:]
        assert 0.8 - 1e-6 <= ratio.min() < 0.9 and 1.1 < ratio.max() <= 1.2 + 1e-6
        assert torch.equal(every.chances[6 * c + 3], formulas.chances[c])
    norms = torch.linalg.matrix_norm(every.maps[..., :4].unflatten(-1, (2, 2)), 2)
    assert norms.max() <= STRETCH + 1e-6


def test_a_frame_is_filled_without_distortion() -> None:
    points = torch.tensor([[[0.0, 0.0], [4.0, 1.0], [2.0, 0.5]]])
    assert torch.equal(framed(points), torch.tensor([[[-1.0, -0.25], [1.0, 0.25], [0.0, 0.0]]]))
    assert framed(torch.ones(1, 3, 2)).abs().max() == 0  # all in one place


def test_points_are_counted_where_they_fall() -> None:
    points = torch.tensor([[[-1.0, -1.0], [1.0, 1.0], [1.0, 1.0], [0.1, -0.9], [1.5, 0.0]]])  # the last one is outside
    assert counts(points, 2).tolist() == [[[1, 1], [0, 2]]]
    assert counts(points.expand(3, -1, -1), 2).sum((1, 2)).tolist() == [4, 4, 4]
    shades = grey(counts(points, 2))
    assert shades[0, 1, 0] == 0 and 0.5 < shades[0, 0, 0] < shades[0, 1, 1] < 1
    assert torch.equal(grey(torch.zeros(1, 2, 2)), torch.zeros(1, 2, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, r"^classes is 0; it must be a whole number, 1 or more$"),
        ({"variations": 1.5}, r"^variations is 1.5; it must be a whole number, 1 or more$"),
        ({"size": 4}, r"^size is 4; it must be a whole number, 8 or more$"),
        ({"size": True}, r"^size is True"),
    ],
)
def test_bad_input(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fractal_images(**arguments)


def test_a_filling_rate_that_cannot_be_had() -> None:
    with pytest.raises(ValueError, match=r"^filling is \(0.5, 0.2\); it must be two rising numbers from 0 to 1$"):
        systems(3, filling=(0.5, 0.2))
    with pytest.raises(ValueError, match=r"hardly any system fills 99% to 100% of 8x8 pixels; ask for another range"):
        systems(2000, filling=(0.99, 1.0), size=8)
