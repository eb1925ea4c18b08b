"""Families of models for pictures with small random configurations: taken apart, frozen, trained."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision import models as vision
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import make_layers

from stablelab import data, models

Check = Callable[[nn.Module], tuple[tuple[str, ...], ...]]


def resnet() -> nn.Module:
    return vision.ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)


def vgg() -> nn.Module:
    features = make_layers([8, "M", 8, "M", 16, "M"], batch_norm=True)
    with torch.device("meta"):  # the widths of its classifier are fixed: 120 million weights, replaced at once
        model = vision.VGG(features, init_weights=False)
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.classifier = nn.Sequential(nn.Linear(16, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))
    return model


def efficientnet() -> nn.Module:
    blocks = [MBConvConfig(1, 3, 1, 8, 8, 1), MBConvConfig(4, 3, 2, 8, 16, 2), MBConvConfig(4, 5, 2, 16, 16, 1)]
    return vision.EfficientNet(blocks, dropout=0.2, num_classes=10)


def vit() -> nn.Module:
    return vision.VisionTransformer(32, 16, 2, 2, hidden_dim=16, mlp_dim=32, dropout=0.1, num_classes=10)


@pytest.mark.parametrize(("make", "layers"), [
    (resnet, ("head", "layer4", "layer3", "layer2", "layer1", "stem")),
    (vgg, ("head", "linear", "convolution 3", "convolution 2", "convolution 1")),
    (efficientnet, ("head", "convolution", "block 3", "block 2", "block 1", "stem")),
    (vit, ("head", "block 2", "block 1", "embeddings")),
])  # fmt: skip
@pytest.mark.slow
def test_families_for_pictures(
    make: Callable[[], nn.Module], layers: tuple[str, ...], digits: data.Task, checked_layers: Check, tried: Callable
) -> None:
    torch.manual_seed(0)
    model = make()
    checked_layers(model)
    assert models.layer_names(model) == layers
    tried(model, digits, noise=0.05, crop=0.1, rotation=10.0, flip=0.5)
