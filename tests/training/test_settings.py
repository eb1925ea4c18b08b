from __future__ import annotations

import math

import pytest

from stablelab.training import Settings


@pytest.mark.parametrize("name", ["learning_rate", "max_norm"])
@pytest.mark.parametrize("value", [-1e-3, 0, 0.0, math.nan, math.inf, "fast", True])
def test_a_learning_rate_or_clip_that_cannot_be_is_refused_in_one_line(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*; it must be a finite number above 0") as caught:
        Settings(**{name: value})
    assert "\n" not in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight_decay", -0.1),
        ("beta1", 1.0),
        ("beta2", -0.1),
        ("momentum", 1.5),
        ("eps", 0.0),
        ("gamma", 1.1),
        ("factor", 1.0),
        ("patience", 1.5),
        ("warmup_steps", -1),
        ("warmup_steps", 2.5),
        ("bias_correction", "yes"),
        ("optimizer", "adamx"),
        ("clip", "all"),
        ("schedule", "step"),
        ("implementation", "jax"),
        ("layer_decay", 0.0),
        ("layer_decay", 1.1),
        ("unfrozen", 0),
        ("unfrozen", 1.5),
        ("unfreeze_every", -1),
        ("early_stopping", 2.0),
        ("noise", -0.1),
        ("crop", 0.6),
        ("rotation", 181),
        ("flip", 1.1),
    ],
)
def test_other_impossible_values_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        Settings(**{name: value})


def test_a_change_is_validated_and_an_unknown_name_is_refused_with_the_names_there_are():
    settings = Settings().replace(learning_rate=0.5)
    assert settings.learning_rate == 0.5
    with pytest.raises(ValueError, match="no setting 'lr'; there are .*learning_rate"):
        settings.replace(lr=0.1)


def test_settings_survive_json():
    settings = Settings(learning_rate=3e-4, max_norm=1.0, optimizer="nesterov", schedule="cosine", warmup_steps=5)
    assert Settings.from_dict(settings.to_dict()) == settings


def test_without_bias_correction_the_workbook_does_the_arithmetic_and_says_so():
    assert Settings(optimizer="adamw").label == "AdamW · torch fused"
    assert Settings(optimizer="adamw", bias_correction=False).label == "AdamW · workbook"
    assert Settings(optimizer="sgd", bias_correction=False).label == "SGD · torch fused"


def test_torch_has_no_lamb_so_the_workbook_does_it_whoever_is_asked():
    for implementation in ("torch", "workbook"):
        settings = Settings(optimizer="lamb", implementation=implementation)
        assert not settings.uses_torch
        assert settings.label == "LAMB · workbook"
