"""From a slider's new value to the new picture, as a learner waits for it, against the time that feels immediate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from timing import Row, seconds

from stablelab.formulas import gradient_descent
from stablelab.widgets import move, slider
from stablelab.widgets.interactive import Moving

MOVES = 30
LIMITS = {1: 0.060, 3: 0.100}  # seconds, by how many panels there are

side = torch.linspace(-2, 2, 81)
grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)  # (81, 81, 2)


def descent(learning_rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights (61, 2) and the loss (61,) on a valley with the curvatures 10 and 1."""
    curvature = torch.tensor([10.0, 1.0])
    path = [torch.tensor([-1.2, 1.6])]
    for _ in range(60):
        path.append(gradient_descent(path[-1], curvature * path[-1], learning_rate))
    theta = torch.stack(path)
    return theta, 0.5 * (curvature * theta**2).sum(-1)


def draw_loss(ax, learning_rate: float) -> str:
    """One panel: two curves over a logarithmic axis, a line at the start, a legend."""
    _, loss = descent(learning_rate)
    ax.semilogy(loss, label="loss")
    ax.semilogy(loss.cummin(0).values, label="lowest so far")
    ax.axhline(loss[0].item(), color="0.5", lw=1)
    ax.set(xlabel="step t", ylabel="loss f(θ)", ylim=(1e-8, 1e4), title="The loss")
    ax.legend()
    return f"The loss ends at {loss[-1]:.2g}."


def draw_three(axes, learning_rate: float) -> str:
    """Three panels, as in the notebook on gradient descent: path and contours, loss, rates."""
    left, middle, right = axes
    theta, _ = descent(learning_rate)
    left.contour(side, side, (0.5 * (torch.tensor([10.0, 1.0]) * grid**2).sum(-1)).sqrt(), levels=12, cmap="cividis")
    left.plot(*theta.T, ".-", lw=1)
    left.set(xlabel="θ₁", ylabel="θ₂", xlim=(-2, 2), ylim=(-2, 2), aspect="equal", title="The path")
    rates = torch.linspace(0, 0.25, 101)
    right.plot(rates, (1 - 10 * rates).abs(), label="steep")
    right.plot(rates, (1 - rates).abs(), label="flat")
    right.set(xlabel="learning rate η", ylabel="factor a step", title="How fast each direction shrinks")
    right.legend()
    return draw_loss(middle, learning_rate)


def moves(picture: Moving) -> list[float]:
    """Seconds from setting the slider until the picture is there, for each of many positions."""
    control = picture.controls["learning_rate"]

    def to(value: float) -> Callable[[], object]:
        def work() -> None:
            control.value = value
            picture.words  # noqa: B018  waits until the picture is there

        return work

    times = [seconds(to(0.02 + 0.2 * i / MOVES)) for i in range(MOVES)]
    picture.close()
    return times


def rows() -> list[Row]:
    """The rows of this benchmark."""
    made = []
    for panels, draw in ((1, draw_loss), (3, draw_three)):
        times = moves(move(draw, panels, learning_rate=slider(0.1, 0.01, 0.24, label="learning rate")))
        limit = [LIMITS[panels]] * len(times)
        made.append(Row(f"a move of a picture with {panels} panel(s)", times, "what is promised", limit, 1.0))
    return made
