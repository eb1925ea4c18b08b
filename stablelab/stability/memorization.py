"""What a language model has learned by heart: the exposure of secrets planted in its training text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from .._validation import whole
from ..formulas.privacy import exposure


def codes(template: str, digits: int = 3) -> list[str]:
    """The template with each code of so many digits in place of ``{}``: the digits stand apart, as " 0 4 7".

    Args:
        template: holds ``{}`` once, such as ``"the code of the red door is {} ."``.
        digits: 1 to 5.

    Raises:
        ValueError: no place for the code, or a number of digits out of its range.
    """
    whole("digits", digits, 1, at_most=5)
    if template.count("{}") != 1:
        raise ValueError(f"the template needs one place {{}} for the code, but {template!r} has {template.count('{}')}")
    return [template.format(" ".join(each)) for each in product("0123456789", repeat=digits)]


@torch.no_grad()
def text_losses(model: nn.Module, tokenizer: Any, texts: Sequence[str], batch_size: int = 256) -> Tensor:
    """(N,) negative log-likelihood of each text, the sum over its tokens (nats), each given those before it.

    Args:
        model: any causal language model that returns ``.logits`` for ``input_ids`` and ``attention_mask``, as those of
            transformers do. It is judged in evaluation mode, which is put back.
        tokenizer: of transformers, or anything that is called the same way.
        texts: N of them.
        batch_size: texts a pass.

    Raises:
        ValueError: no texts, or one of fewer than two tokens.

    Source:
        Carlini et al. 2019, "The Secret Sharer", on log-perplexity (there in bits).
    """
    whole("batch_size", batch_size, 1)
    if not texts:
        raise ValueError("there are no texts")
    rows = [torch.tensor(ids) for ids in tokenizer(list(texts))["input_ids"]]
    lengths = torch.tensor([len(row) for row in rows])
    if int(lengths.min()) < 2:
        text = texts[int(lengths.argmin())]
        raise ValueError(f"{text!r} is {int(lengths.min())} tokens; a likelihood needs two: one, and one after it")
    device, mode = next(model.parameters()).device, model.training
    found = torch.empty(len(rows), dtype=torch.float64)
    model.eval()
    try:
        for some in lengths.argsort(stable=True).split(batch_size):
            ids = nn.utils.rnn.pad_sequence([rows[i] for i in some], batch_first=True).to(device)
            there = torch.arange(ids.shape[1], device=device) < lengths[some, None].to(device)  # (B, L)
            logits = model(input_ids=ids, attention_mask=there.long()).logits[:, :-1].float()
            # -ln p of the next token; what fills up does not count, and stands behind: a causal model never sees it
            each = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            found[some] = (each.double().view(len(ids), -1) * there[:, 1:]).sum(1).cpu()
    finally:
        model.train(mode)
    return found


def secret_exposure(
    model: nn.Module, tokenizer: Any, secret: str, candidates: Iterable[str], batch_size: int = 256
) -> float:
    """How far up a secret is among all that it could have been, by the model's likelihoods, in bits.

    Args:
        model: as for ``text_losses``.
        tokenizer: as for ``text_losses``.
        secret: the text that was planted, or one that was not, for comparison.
        candidates: all texts that it could have been, the secret among them (``codes``).
        batch_size: as for ``text_losses``.

    Returns:
        From 0 to log₂ of their number; 1.44 is what chance gives.

    Raises:
        ValueError: the secret is not one of the candidates.

    Source:
        Carlini et al. 2019, on exposure, with every candidate looked at.
    """
    texts = list(candidates)
    if texts.count(secret) != 1:
        raise ValueError(
            f"the secret {secret!r} must be one of the candidates, once; it is {texts.count(secret)} times"
        )
    losses = text_losses(model, tokenizer, texts, batch_size)
    at = texts.index(secret)
    return float(exposure(losses[at], torch.cat([losses[:at], losses[at + 1 :]])))
