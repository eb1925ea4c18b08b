"""The ways in which the study of smaller models makes a model smaller or cheaper."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from ..formulas.quantization import dequantize_int8, quantize_int8
from ..models import bert, lora, resnet
from ..models.fractals.small_conv import with_small_map_convs
from ..training.evaluation import predict

RANK, ALPHA = 8, 16
KEPT_LAYERS = (1, 3, 5)  # of BERT's six, those that the student begins with


def full_model(name: str, task: Any, seed: int) -> nn.Module:
    """The pre-trained model with a new head, drawn by the seed. BERT's reads the mean over the tokens."""
    if name == "BERT":
        return bert(task, seed=seed, pooling="mean")
    return with_small_map_convs(resnet(task, seed=seed), 32)  # same numbers, less time


def lora_model(name: str, task: Any, seed: int) -> nn.Module:
    """The same with LoRA beside queries and values; the head is trained as well."""
    return lora(full_model(name, task, seed), rank=RANK, alpha=ALPHA, seed=seed)


def student_model(name: str, task: Any, seed: int) -> nn.Module:
    """Three of BERT's pre-trained layers under a new head; or a small net of three convolutions, drawn at random."""
    if name == "BERT":
        model: Any = full_model(name, task, seed)
        model.bert.encoder.layer = nn.ModuleList(model.bert.encoder.layer[i] for i in KEPT_LAYERS)
        model.config.num_hidden_layers = len(KEPT_LAYERS)
        return model
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for before, after in ((3, 16), (16, 32), (32, 64)):
            conv = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(after), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, len(task.classes)))


def prunable(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """What pruning looks at: the matrices of BERT's blocks, or all convolutions."""
    blocks = model.get_submodule("bert.encoder") if hasattr(model, "bert") else model
    kind: Any = nn.Linear if hasattr(model, "bert") else nn.Conv2d
    return [(module, "weight") for module in blocks.modules() if isinstance(module, kind)]


def left_of(model: nn.Module) -> int:
    """How many weights are not masked."""
    return sum(int(module.get_buffer("weight_mask").sum()) for module, _ in prunable(model))


def leave_out_what_never_acts(model: nn.Module) -> None:
    """Mask the kernels' weights that only ever meet the padding of these small pictures; there are none in a BERT.

    They are 0 already; counted in, they would make most of a ResNet's sparsity for nothing.
    """
    from torch.nn.utils import prune

    for module, name in prunable(model):
        prune.custom_from_mask(module, name, getattr(module, name) != 0)


def prune_to(model: nn.Module, sparsity: float, acting: int) -> None:
    """Of so many weights that acted before pruning this share, the smallest over all layers, is masked."""
    from torch.nn.utils import prune

    modules = prunable(model)
    more = left_of(model) - (acting - round(sparsity * acting))
    if more > 0:
        prune.global_unstructured(modules, prune.L1Unstructured, amount=more)


def in_int8(model: nn.Module) -> nn.Module:
    """A copy with every matrix and kernel, embeddings included, sent through int8 and back, a scale for each row."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(dequantize_int8(*quantize_int8(parameter, dim=0)))
    return model


def in_torchao(model: nn.Module, activations: bool) -> nn.Module:
    """A copy whose linear layers torchao keeps in int8: the weights alone, or what comes in as well."""
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_
    except ImportError:
        raise ImportError("torchao is not here; run: pip install 'stablelab[int8]'") from None
    model = copy.deepcopy(model)
    quantize_(model, Int8DynamicActivationInt8WeightConfig() if activations else Int8WeightOnlyConfig())
    return model


def stored_bytes(model: nn.Module, kind: str = "") -> int:
    """Bytes of a model's tensors as they would be stored.

    Args:
        model: any.
        kind: "sparse": of what pruning looks at, the weights that are not 0 and a bit for each. "int8": a byte for each
            number of a matrix or kernel and four for the scale of each row. "adapter": only what was trained. "": all.
    """
    masked = {id(module.weight) for module, _ in prunable(model)} if kind == "sparse" else set()
    total = 0 if kind == "adapter" else sum(b.nbytes for b in model.buffers())
    parameters: list[Any] = list(model.parameters())
    for p in parameters:
        if kind == "adapter":
            total += p.nbytes if p.requires_grad else 0
        elif id(p) in masked:
            total += 4 * int(p.count_nonzero()) + math.ceil(p.numel() / 8)
        elif kind == "int8" and p.ndim >= 2:
            total += p.numel() + 4 * len(p)
        else:
            total += p.qdata.nbytes + p.scale.nbytes if hasattr(p, "qdata") else p.nbytes
    return total


def answers(model: nn.Module, split: Any) -> Tensor:
    """Logits (N, C) of a split, in its own order."""
    logits, _ = predict(model, split, 50)  # in the order of its batches
    return logits[split.order().argsort()]
