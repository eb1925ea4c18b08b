from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from stablelab.stability import codes, secret_exposure, text_losses
from stablelab.studies.privacy import small_gpt2, word_pieces

TEXTS = ["a good film with a red door .", "the code is 1 2 3", "bad .", "The door was not good, and not bad."]


def _models(vocabulary: int) -> list[torch.nn.Module]:
    torch.manual_seed(0)
    llama = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64,
    )  # fmt: skip
    return [small_gpt2(vocabulary, 0, width=32, layers=1), LlamaForCausalLM(llama)]


def test_losses_are_those_of_each_text_by_itself_for_any_causal_model() -> None:
    tokenizer = word_pieces(TEXTS, 80)
    for model in _models(len(tokenizer)):
        model.train()
        found = text_losses(model, tokenizer, TEXTS, batch_size=3)
        assert model.training
        model.eval()
        for text, loss in zip(TEXTS, found.tolist(), strict=True):
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            with torch.no_grad():
                meant = model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
            assert loss == pytest.approx(meant, rel=1e-5)


def test_a_code_that_is_learned_by_heart_is_exposed_and_others_are_not() -> None:
    template = "the code of the red door is {}"
    secret, other = "the code of the red door is 4 7", "the code of the red door is 9 2"
    tokenizer = word_pieces([*TEXTS, secret], 80)
    model = small_gpt2(len(tokenizer), 1, width=32, layers=1)
    assert len(codes(template, 2)) == 100 and codes(template, 2)[47] == secret
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    ids = torch.tensor([tokenizer(secret)["input_ids"]])
    for _ in range(20):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    assert secret_exposure(model, tokenizer, secret, codes(template, 2)) == pytest.approx(math.log2(100))
    assert secret_exposure(model, tokenizer, other, codes(template, 2)) < 5


def test_bad_input_is_one_line() -> None:
    tokenizer = word_pieces(TEXTS, 80)
    model = small_gpt2(len(tokenizer), 0, width=32, layers=1)

    def one_token(texts: list[str]) -> dict[str, list[list[int]]]:
        return {"input_ids": [[3] for _ in texts]}

    calls = [
        (lambda: codes("no place"), "needs one place {} for the code"),
        (lambda: codes("{}", 9), "digits is 9"),
        (lambda: text_losses(model, tokenizer, []), "there are no texts"),
        (lambda: text_losses(model, one_token, ["x"]), "'x' is 1 tokens; a likelihood needs two"),
        (
            lambda: secret_exposure(model, tokenizer, "x", ["a b", "c d"]),
            "the secret 'x' must be one of the candidates",
        ),
    ]
    for call, words in calls:
        with pytest.raises(ValueError) as caught:
            call()
        assert words in str(caught.value) and "\n" not in str(caught.value)
