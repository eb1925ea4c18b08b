from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BartConfig,
    BartForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    FlaubertConfig,
    FlaubertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

from stablelab import models

Check = Callable[[nn.Module], tuple[tuple[str, ...], ...]]


def torchvision_model(name: str) -> nn.Module:
    with torch.device("meta"):
        return models.resnet(5, name, weights="random")


def test_resnet_has_its_four_stages_and_a_stem(checked_layers: Check) -> None:
    model = torchvision_model("resnet18")
    assert checked_layers(model) == (("fc",), ("layer4",), ("layer3",), ("layer2",), ("layer1",), ("conv1", "bn1"))
    assert models.layer_names(model) == ("head", "layer4", "layer3", "layer2", "layer1", "stem")
    assert len(checked_layers(torchvision_model("resnet101"))) == 6  # though one stage holds most of its matrices


def test_vgg_has_a_layer_for_each_matrix_with_its_norm(checked_layers: Check) -> None:
    model = torchvision_model("vgg11_bn")
    layers, names = checked_layers(model), models.layer_names(model)
    assert layers[:3] == (("classifier.6",), ("classifier.3", "classifier.5"), ("classifier.0", "classifier.2"))
    assert layers[3] == ("features.25", "features.26") and layers[-1] == ("features.0", "features.1")
    assert names[:4] == ("head", "linear 2", "linear 1", "convolution 8") and names[-1] == "convolution 1"


def test_efficientnet_has_its_stages(checked_layers: Check) -> None:
    model = torchvision_model("efficientnet_b0")
    top = ("features.8", "classifier.0")  # a dropout stands before the head
    assert checked_layers(model) == (("classifier.1",), top, *((f"features.{i}",) for i in range(7, -1, -1)))
    assert models.layer_names(model) == ("head", "convolution", *(f"block {i}" for i in range(7, 0, -1)), "stem")


def test_vision_transformers_tokens_and_positions_go_with_their_embedding(checked_layers: Check) -> None:
    model = torchvision_model("vit_b_16")
    layers = checked_layers(model)
    assert layers[:2] == (("heads.head",), ("encoder.layers.encoder_layer_11", "encoder.ln"))
    assert layers[-1] == ("class_token", "conv_proj", "encoder.pos_embedding", "encoder.dropout")
    assert models.layer_names(model) == ("head", *(f"block {i}" for i in range(12, 0, -1)), "embeddings")


@pytest.mark.parametrize(("name", "count", "top", "lowest"), [
    ("alexnet", 8, "linear 2", "convolution 1"),
    ("convnext_tiny", 9, "block 4", "stem"),
    ("densenet121", 9, "denseblock4", "stem"),
    ("mobilenet_v3_small", 15, "linear", "stem"),
    ("shufflenet_v2_x0_5", 6, "conv5", "stem"),
    ("squeezenet1_1", 10, "block 8", "stem"),
    ("swin_t", 9, "block 4", "stem"),
])  # fmt: skip
def test_torchvisions_other_families(name: str, count: int, top: str, lowest: str, checked_layers: Check) -> None:
    model = torchvision_model(name)
    names = models.layer_names(model)
    assert (len(checked_layers(model)), names[1], names[-1]) == (count, top, lowest)


def test_transformers_have_their_blocks(checked_layers: Check) -> None:
    with torch.device("meta"):
        bert = BertForSequenceClassification(BertConfig(num_hidden_layers=3))
        gpt2 = GPT2ForSequenceClassification(GPT2Config(n_layer=2, bos_token_id=0, eos_token_id=0))
        albert = AlbertForSequenceClassification(AlbertConfig())
        bart = BartForSequenceClassification(BartConfig(encoder_layers=2, decoder_layers=2))
    assert checked_layers(bert) == (
        ("classifier",),
        ("bert.encoder.layer.2", "bert.pooler", "dropout"),
        ("bert.encoder.layer.1",),
        ("bert.encoder.layer.0",),
        ("bert.embeddings",),
    )
    assert models.layer_names(bert) == ("head", "block 3", "block 2", "block 1", "embeddings")
    assert checked_layers(gpt2)[1:] == (
        ("transformer.h.1", "transformer.ln_f"),
        ("transformer.h.0",),
        ("transformer.wte", "transformer.wpe", "transformer.drop"),
    )
    assert checked_layers(albert)[-1] == ("albert.embeddings", "albert.encoder.embedding_hidden_mapping_in")
    checked_layers(bart)
    assert models.layer_names(bart) == ("head", "block 4", "block 3", "block 2", "block 1", "embeddings")


def test_the_head_is_what_freezing_leaves(small_bert: BertForSequenceClassification) -> None:
    models.freeze(small_bert)
    trainable = {name.split(".")[0] for name, p in small_bert.named_parameters() if p.requires_grad}
    assert trainable == set(models.layers_of(small_bert)[0])


def test_a_matrix_that_two_parts_share_belongs_to_one(checked_layers: Check) -> None:
    with torch.device("meta"):
        model = BertForMaskedLM(BertConfig(num_hidden_layers=1))
    assert checked_layers(model)[-1] == tuple(
        f"bert.embeddings.{part}" for part in ("position_embeddings", "token_type_embeddings", "LayerNorm", "dropout")
    )


def test_models_of_ones_own(checked_layers: Check) -> None:
    perceptron = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    assert checked_layers(perceptron) == (("5",), ("3",), ("1",))
    assert models.layer_names(perceptron) == ("head", "linear 2", "linear 1")
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
    nested = nn.Sequential(body, nn.Flatten(), nn.Linear(4, 2))
    assert checked_layers(nested) == (("2",), ("0.3",), ("0.0", "0.1"))
    recurrent = nn.ModuleDict({"words": nn.Embedding(9, 3), "reader": nn.LSTM(3, 3), "out": nn.Linear(3, 2)})
    assert checked_layers(recurrent) == (("out",), ("reader",), ("words",))
    assert models.layer_names(recurrent) == ("head", "reader", "embeddings")
    recurrent.register_parameter("gain", nn.Parameter(torch.ones(())))
    del recurrent["words"]
    assert models.layer_names(recurrent) == ("head", "reader")
    normed = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Linear(3, 3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 2))
    assert checked_layers(normed) == (("4",), ("0", "1", "3"))


def test_lists_side_by_side_are_one(checked_layers: Check) -> None:
    parts = {
        "convs": nn.ModuleList(nn.Conv2d(3, 3, 3) for _ in range(3)),
        "norms": nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3)),
        "out": nn.Linear(3, 2),
    }
    assert checked_layers(nn.ModuleDict(parts)) == (
        ("out",),
        *((f"convs.{i}", f"norms.{i}") for i in (2, 1, 0)),
    )
    with torch.device("meta"):
        flaubert = FlaubertForSequenceClassification(FlaubertConfig(n_layers=2, vocab_size=50))
    layers = checked_layers(flaubert)
    assert models.layer_names(flaubert) == ("head", "block 2", "block 1", "embeddings")
    assert layers[1] == tuple(f"transformer.{part}.1" for part in ("attentions", "layer_norm1", "ffns", "layer_norm2"))


def test_a_head_alone_or_none_that_could_be_found(checked_layers: Check) -> None:
    assert checked_layers(nn.Linear(3, 2)) == (("",),)
    assert checked_layers(nn.ParameterList([nn.Parameter(torch.ones(2, 2))])) == (("0",),)


def test_no_layers() -> None:
    with pytest.raises(ValueError, match=r"^ReLU has no parameters, so it has no layers$"):
        models.layers_of(nn.ReLU())
