"""Probes of the data: inputs out of scale, texts cut off or not understood, examples that stand in both parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .control import together
from .findings import Cause, Finding
from .judging import UnknownError, made, write
from .probing import Numbers, Probe, padding_of, restoring, spread
from .setup import TrainingSetup

OUTLIER = 10.0  # robust z
SHORT = 6  # tokens, the two at the ends included, below which texts may be equal by chance
SCALE = 10.0  # standard deviations or means that no normalization leaves


def measure_moments(setup: TrainingSetup) -> dict[str, float]:
    """Mean, standard deviation and range of what goes into the model."""
    with restoring(setup, weights=False):
        inputs = setup.train.collate(spread(setup.train, 256))[0]
    columns = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    numbers = [x.flatten() for x in columns if isinstance(x, Tensor) and x.is_floating_point()]
    if not numbers:
        raise UnknownError("the inputs are whole numbers, such as tokens: they have no scale")
    x = torch.cat(numbers).double()
    finite = x[x.isfinite()]
    if not len(finite):
        return {"mean": math.nan, "std": math.nan, "lowest": math.nan, "highest": math.nan, "not_finite": 1.0}
    return {
        "mean": float(finite.mean()),
        "std": float(finite.std(unbiased=False)),
        "lowest": float(finite.min()),
        "highest": float(finite.max()),
        "not_finite": 1 - len(finite) / len(x),
    }


def scale_of_inputs(numbers: Numbers) -> Finding | None:
    """Mean and standard deviation of the inputs against 0 and 1.

    Weights are made for inputs of mean 0 and variance 1; inputs of root mean square r enlarge the first layer's outputs
    and its gradient r times each. A fault where the standard deviation or the mean is above 10 in size: pixels in
    [0, 1] or normalized stay below 3, pixels 0–255 have 60 to 110. Inputs that do not vary at all say nothing.

    Source: LeCun et al. 1998, "Efficient backprop", Section 4.3; ten is a choice.
    """
    mean, std = numbers["mean"], numbers["std"]
    if numbers["not_finite"] > 0:
        return made(
            scale_of_inputs,
            "inputs are not finite",
            f"{100 * numbers['not_finite']:.2g} % of the inputs are infinite or no number.",
            (Cause.BAD_BATCH, Cause.OVERFLOW),
            numbers=numbers,
            cure="look at these examples, and leave them out or mend them",
            confidence="certain",
        )
    if std == 0:
        return made(
            scale_of_inputs,
            "all inputs are the same number",
            f"Each is {write(mean)}.",
            (Cause.DATA_WITHOUT_INFORMATION,),
            numbers=numbers,
            cure="look at what is loaded: a picture, drawn; a row, printed",
            confidence="certain",
        )
    if std <= SCALE and abs(mean) <= SCALE:
        return None
    return made(
        scale_of_inputs,
        "the inputs are not normalized",
        f"Their mean is {write(mean)}, their standard deviation {write(std)}, from {write(numbers['lowest'])} to "
        f"{write(numbers['highest'])}.",
        (Cause.SCALE,),
        numbers=numbers,
        cure="subtract the mean and divide by the standard deviation of the training data, in all parts alike",
        confidence="certain",
    )


# -- tokens ------------------------------------------------------------------------------------------------------------


def measure_tokens(setup: TrainingSetup) -> dict[str, float]:
    """Lengths of the texts, unknown tokens, and whether tokenizer and embeddings belong together."""
    with restoring(setup, weights=False):
        inputs = setup.train.collate(spread(setup.train, 256))[0]
    if not isinstance(inputs, Mapping) or "input_ids" not in inputs:
        raise UnknownError("the inputs are no tokens")
    ids = inputs["input_ids"]
    pad = padding_of(setup)
    real = inputs["attention_mask"] > 0 if "attention_mask" in inputs else torch.ones_like(ids, dtype=torch.bool)
    if pad is not None:
        real = (ids != pad) if bool((ids == pad).any()) else real
    lengths = real.sum(dim=1)
    longest = int(lengths.max())
    tokens = ids[real]
    unknown = getattr(setup.tokenizer, "unk_token_id", None)
    first = getattr(setup.tokenizer, "cls_token_id", None)
    embeddings = next((m for m in setup.model.modules() if isinstance(m, nn.Embedding)), None)
    words = {} if setup.tokenizer is None or not hasattr(setup.tokenizer, "get_vocab") else setup.tokenizer.get_vocab()
    return {
        "longest": longest,
        "median_length": float(lengths.float().median()),
        "at_longest": float((lengths == longest).float().mean()),
        "unknown": float((tokens == unknown).float().mean()) if unknown is not None else math.nan,
        "without_first": float((ids[:, 0] != first).float().mean()) if first is not None else math.nan,
        "vocabulary": float(len(words)) if words else math.nan,
        "embeddings": float(embeddings.num_embeddings) if embeddings is not None else math.nan,
        "distinct": float(len(tokens.unique())),
        "rarity": _rarity(tokens, embeddings),
    }


def _rarity(tokens: Tensor, embeddings: nn.Embedding | None) -> float:
    """Spearman's correlation of how often a token occurs with the norm of its embedding; NaN where too few occur."""
    if embeddings is None:
        return math.nan
    found, counts = tokens.unique(return_counts=True)
    found, counts = found[counts > 1], counts[counts > 1]
    if len(found) < 30 or int(found.max()) >= embeddings.num_embeddings:
        return math.nan
    from scipy.stats import spearmanr

    norms = embeddings.weight.detach()[found.to(embeddings.weight.device)].float().norm(dim=1).cpu()
    return float(spearmanr(counts.numpy(), norms.numpy()).statistic)


def cut_off(numbers: Numbers) -> Finding | None:
    """Texts as long as the longest: cut there.

    Lengths of sentences spread widely, so that few share the largest. Where half of up to 256 do, texts are cut. An
    alarm below 32 tokens, one or two clauses; a longer text that is cut still says much: it is said.

    Source: the median length of an English sentence is about 20 words (Sichel 1974, "On a distribution representing
    sentence-length in written prose"). Half and 32 are choices.
    """
    longest, share = numbers["longest"], numbers["at_longest"]
    if share < 0.5:
        return None
    alarm = longest < 32
    return made(
        cut_off,
        "most texts are cut off",
        f"{100 * share:.0f} % of the texts have exactly {longest:.0f} tokens, the most that any has.",
        (Cause.TOKENIZER, Cause.DATA_WITHOUT_INFORMATION),
        numbers=numbers,
        cure="tokenizer(..., truncation=True, max_length=...): longer than nine texts in ten",
        confidence="likely" if alarm else "possible",
        alarm=alarm,
    )


def unknown_tokens(numbers: Numbers) -> Finding | None:
    """Tokens that the tokenizer or the model does not know.

    A fault where more than 5 % are the unknown token (WordPiece, which cuts words into known pieces, has nearly none on
    its own language), where the tokenizer has more tokens than the model has embeddings, or where most texts do not
    begin with the tokenizer's first token.

    Source: Wu et al. 2016, "Google's neural machine translation system", Section 4.1, on pieces of words. 5 % is a
    choice.
    """
    share, without = numbers["unknown"], numbers["without_first"]
    larger = numbers["vocabulary"] > numbers["embeddings"]
    if math.isnan(share) and math.isnan(numbers["vocabulary"]):
        raise UnknownError("the tokenizer is not at hand: lab.examine(..., tokenizer=...)")
    if not share > 0.05 and not larger and not without > 0.5:
        return None
    if larger:
        evidence = f"It has {numbers['vocabulary']:.0f} tokens, the model {numbers['embeddings']:.0f} embeddings."
    elif share > 0.05:
        evidence = f"{100 * share:.0f} % of the tokens are the unknown one."
    else:
        evidence = f"{100 * without:.0f} % of the texts do not begin with the first token that it puts there."
    return made(
        unknown_tokens,
        "the tokenizer does not fit",
        evidence,
        (Cause.TOKENIZER,),
        numbers=numbers,
        cure="use the tokenizer that the model was trained with: AutoTokenizer.from_pretrained(the model's name)",
        confidence="certain" if larger else "likely",
    )


# -- the same examples, and others than the rest -----------------------------------------------------------------------


def measure_duplicates(setup: TrainingSetup) -> dict[str, float]:
    """The share of validation examples that stand in the training data, exactly or nearly."""
    with restoring(setup, weights=False):
        train, validation = spread(setup.train, 2048), spread(setup.validation, 256)
        learnt, judged = setup.train.collate(train)[0], setup.validation.collate(validation)[0]
    keys, asked = _keys(learnt), _keys(judged)
    known = {key for key in keys if key}
    exact = torch.tensor([key in known for key in asked])
    a, b = together(learnt, judged)
    apart = torch.cdist(b, a).min(dim=1).values if a.shape[1] else torch.zeros(len(b))
    usual = float(apart[~exact].median()) if bool((~exact).any()) else 0.0
    scale = float(a.square().sum(dim=1).mean().sqrt())
    near = (apart < 0.05 * scale) & (apart < 0.2 * usual) if usual > 0 else torch.zeros_like(exact)
    return {
        "validation": len(asked),
        "exact": float(exact.float().mean()),
        "near": float((near & ~exact).float().mean()),
        "looked_at": len(train) / len(setup.train),
    }


def _keys(inputs: Any) -> list[bytes]:
    """What tells examples apart, without padding."""
    if isinstance(inputs, Mapping) and "input_ids" in inputs:
        mask = inputs.get("attention_mask")
        rows = inputs["input_ids"].cpu()
        kept = rows.bool() if mask is None else mask.cpu() > 0
        texts = [row[there].numpy() for row, there in zip(rows, kept, strict=True)]
        return [text.tobytes() if len(text) >= SHORT else b"" for text in texts]  # short ones are alike by chance
    columns = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    return [b"".join(x[i].cpu().contiguous().numpy().tobytes() for x in columns) for i in range(len(columns[0]))]


def duplicates(numbers: Numbers) -> Finding | None:
    """Validation examples that stand in the training data: the same bytes, or nearly.

    Nearly: the distance to the nearest training example is below a twentieth of the usual size of an input and below a
    fifth of what is usual between such neighbours. Texts of fewer than six tokens do not count. An alarm from 5 % on,
    counted on what was looked at: the validation accuracy is then too high by up to as much. Less is said.

    Source: Barz & Denzler 2020, "Do we train on test data?" (3.3 % of CIFAR-10's test pictures have duplicates, and
    accuracies change little). 5 % is a choice above that.
    """
    share = numbers["exact"] + numbers["near"]
    expected = share / numbers["looked_at"]
    if not share:
        return None
    alarm = expected >= 0.05 and share * numbers["validation"] >= 3
    return made(
        duplicates,
        "the same examples are in the training and in the validation data",
        f"Of {numbers['validation']:.0f} validation examples {100 * numbers['exact']:.1f} % stand in the training "
        f"data, and {100 * numbers['near']:.1f} % nearly; {100 * numbers['looked_at']:.0f} % of these were looked at.",
        (Cause.DUPLICATES,),
        numbers=numbers,
        cure="split by groups of equal examples (sklearn's GroupShuffleSplit), then train again",
        confidence="certain" if numbers["exact"] >= numbers["near"] else "likely",
        alarm=alarm,
    )


def measure_outliers(setup: TrainingSetup) -> dict[str, float]:
    """Training examples whose spread, level or number of different values is far from those of the others."""
    with restoring(setup, weights=False):
        inputs = setup.train.collate(spread(setup.train, 2048))[0]
    if isinstance(inputs, Mapping) and "input_ids" in inputs:
        real = inputs["attention_mask"] > 0 if "attention_mask" in inputs else inputs["input_ids"] > 0
        kinds = torch.tensor([len(row[there].unique()) for row, there in zip(inputs["input_ids"], real, strict=True)])
        odd = (real.sum(dim=1) > 4) & (kinds <= 2) | (kinds == 0)
        return {"examples": len(odd), "odd": float(odd.sum()), "farthest": math.nan}
    columns = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    floats = [x.reshape(len(x), -1).double() for x in columns if x.is_floating_point()]
    if not floats:
        raise UnknownError("the inputs are neither numbers nor tokens")
    x = torch.cat(floats, dim=1)
    bad = ~x.isfinite().all(dim=1)
    x = x.nan_to_num(0.0, 0.0, 0.0)
    typical = float(x[~bad].std(dim=1, unbiased=False).median()) if bool((~bad).any()) else 0.0
    far = torch.zeros(len(x), dtype=torch.float64)
    if x.shape[1] > 1 and typical > 0:
        spreads = (x.std(dim=1, unbiased=False) / typical + 1e-3).log()
        levels = x.mean(dim=1) / typical
        for values in (spreads, levels):
            off = (values - values.median()).abs()
            far = torch.maximum(far, off / (1.4826 * off.median()).clamp(min=0.1))
    return {"examples": len(x), "odd": float(((far > OUTLIER) | bad).sum()), "farthest": float(far.max())}


def odd_examples(numbers: Numbers) -> Finding | None:
    """Training examples unlike all others: robust z of the log of their standard deviation, and of their mean.

    z = |v − median| / (1.4826 · MAD), at least 0.1 in the denominator; of a normal distribution none in 10²⁰ is above
    10. Of tokens: texts of one or two different tokens. A fault from three such examples, and up to a fifth of all.

    Source: Iglewicz & Hoaglin 1993, "How to detect and handle outliers" (3.5 for single numbers); 10, as pictures have
    heavier tails, and the shares are choices.
    """
    odd, n = numbers["odd"], numbers["examples"]
    if odd < 3 or odd > 0.2 * n:
        return None
    return made(
        odd_examples,
        "a few examples are unlike all others",
        f"{odd:.0f} of {n:.0f} training examples that were looked at stand apart by their spread or level"
        + (f" (z up to {write(numbers['farthest'])})." if numbers["farthest"] > 0 else "."),
        (Cause.BAD_BATCH,),
        numbers=numbers,
        cure="look at them, and leave them out or mend them",
        confidence="likely",
    )


PROBES = (
    Probe(measure_moments, scale_of_inputs, "inputs that are not normalized"),
    Probe(measure_tokens, unknown_tokens, "a tokenizer that does not fit"),
    Probe(measure_tokens, cut_off, "texts that are cut off"),
    Probe(measure_duplicates, duplicates, "examples in both parts of the data"),
    Probe(measure_outliers, odd_examples, "corrupt examples"),
)
