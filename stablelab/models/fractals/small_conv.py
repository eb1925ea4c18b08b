"""Convolutions of very small maps as matrix products: the same numbers, several times as fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST = 2  # in a map of at most 2 x 2 pixels a 3 x 3 kernel sees every pixel from every place


class SmallMapConv(nn.Conv2d):
    """A 3 x 3 convolution with padding 1, for square maps of 1 or 2 pixels a side.

    A 32-pixel picture leaves ResNet-18's last layers with such maps. Of a kernel's 9 weights most then fall on the
    padding, and a library made for large maps spends its time there. Every output pixel sees every input pixel, so
    the convolution is one full matrix.

    Args:
        plain: the convolution to stand in for; the weight is shared.
        side: pixels of a side of the maps that come in.
    """

    def __init__(self, plain: nn.Conv2d, side: int) -> None:
        with torch.device("meta"):
            super().__init__(plain.in_channels, plain.out_channels, 3, plain.stride[0], 1, bias=False)
        self.weight = plain.weight
        self.side = side
        at = torch.arange(-(-side // self.stride[0]))
        self.taps = torch.arange(side) - int(self.stride[0]) * at.unsqueeze(1) + 1  # (out, in): which row of the kernel

    def forward(self, input: Tensor) -> Tensor:
        """Convolve. (B, C, side, side) -> (B, K, out, out)."""
        if input.shape[-2:] != (self.side, self.side):
            raise ValueError(f"made for maps of {self.side}x{self.side} pixels, not {tuple(input.shape[-2:])}")
        kernel = self.weight.permute(0, 2, 3, 1)  # (K, 3, 3, C): as it lies in memory
        if self.side == 1:
            matrix = kernel[:, 1, 1]
        else:
            rows, columns = self.taps[:, None, :, None], self.taps[None, :, None, :]
            matrix = kernel[:, rows, columns].permute(1, 2, 0, 3, 4, 5).flatten(0, 2).flatten(1)  # (out² K, in² C)
        out = F.linear(input.permute(0, 2, 3, 1).flatten(1), matrix)
        return out.view(len(input), len(self.taps), len(self.taps), -1).permute(0, 3, 1, 2)

    @torch.no_grad()
    def clear_unseen(self) -> None:
        """Set the weights to 0 that fall on the padding wherever the kernel stands: nothing ever trains them."""
        unseen = torch.ones(3, 3, dtype=torch.bool)
        seen = self.taps.unique()
        unseen[seen.unsqueeze(1), seen] = False
        self.weight[:, :, unseen] = 0


def with_small_map_convs(model: nn.Module, size: int) -> nn.Module:
    """Replace, in place, the convolutions that meet very small maps when ``model`` is given pictures of ``size``.

    Weights of them that no picture of this size can reach become 0: on larger pictures they would be noise.

    Args:
        model: a module that takes (B, 3, size, size); its parameters keep their names.
        size: pixels of a side.

    Returns:
        The model.
    """
    sides: dict[str, tuple[int, ...]] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: sides.update({name: given[0].shape[-2:]}))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size))
    model.train(training)
    for hook in hooks:
        hook.remove()
    for name, (height, width) in sides.items():
        plain = model.get_submodule(name)
        if height == width <= LARGEST and isinstance(plain, nn.Conv2d) and _is_three_by_three(plain):
            small = SmallMapConv(plain, height)
            small.clear_unseen()
            model.set_submodule(name, small)
    return model


@contextmanager
def deterministic_gradients() -> Iterator[None]:
    """For ``backward`` through a ``SmallMapConv``: on a CPU the same bits every time, with any number of threads.

    The gradient of a kernel is a sum over all places where the kernel stands; torch's threads add to it in the order in
    which they come, unless it is told not to. With one thread the numbers are the same as without this context.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # on a GPU some operation may have no such algorithm
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _is_three_by_three(plain: nn.Conv2d) -> bool:
    usual = (plain.kernel_size, plain.padding, plain.dilation, plain.groups) == ((3, 3), (1, 1), (1, 1), 1)
    return usual and plain.bias is None and plain.stride in ((1, 1), (2, 2))
