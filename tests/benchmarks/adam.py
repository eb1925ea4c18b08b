"""One step of the workbook's Adam on BERT's parameters, against torch's default (foreach) and torch's fused Adam."""

from __future__ import annotations

import material
import torch
from timing import Row, alternate, seconds

from stablelab.training import Adam

STEPS = 5  # per turn
REPEATS = 15


def stepper(optimizer: type[torch.optim.Optimizer], **settings: object) -> torch.optim.Optimizer:
    """The optimizer on a copy of BERT's parameters, with gradients that stay the same."""
    generator = torch.Generator().manual_seed(0)
    parameters = list(material.bert().parameters())
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator) * 1e-3
    return optimizer(parameters, lr=1e-5, **settings)


def rows() -> list[Row]:
    """A row against torch's default and one against its fused Adam, which reads each number once."""
    ours = stepper(Adam)
    result = []
    for peer, settings, at_most in (
        ("torch Adam, foreach", {"foreach": True}, 1.10),
        ("torch Adam, fused", {"fused": True}, 6.0),
    ):
        theirs = stepper(torch.optim.Adam, **settings)

        def turn(optimizer: torch.optim.Optimizer) -> float:
            return seconds(lambda: [optimizer.step() for _ in range(STEPS)]) / STEPS

        a, b = alternate(lambda: turn(ours), lambda theirs=theirs: turn(theirs), REPEATS)
        result.append(Row("the workbook's Adam, one step on BERT", a, peer, b, at_most))
    return result
