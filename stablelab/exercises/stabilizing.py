"""The exercises of notebook 09b: remedies for unstable fine-tuning, and how they are judged."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64, normal
from .stabilizing_recipes import LAYER_RATES, WEIGHT_AVERAGE


def missing_factor(t, beta1, beta2):
    return (1 - beta1**t) / math.sqrt(1 - beta2**t)


FACTOR = Exercise(
    name="stabilizing.factor",
    returns="by what factor step t of Adam, counted from 1, is longer without bias correction than with it",
    solution=missing_factor,
    cases=(
        Case("the first step at the default β", (1, 0.9, 0.999)),
        Case("step 12 at the default β", (12, 0.9, 0.999)),
        Case("step 3 at other β", (3, 0.8, 0.95)),
        Case("the same β twice", (2, 0.5, 0.5)),
    ),
    slips=(
        Slip(
            "the denominator of Adam's step is the root of the second average, and its correction stands under the "
            "root as well",
            lambda t, beta1, beta2: (1 - beta1**t) / (1 - beta2**t),
        ),
        Slip(
            "upside down: this is how much shorter the step is with the correction",
            lambda t, beta1, beta2: math.sqrt(1 - beta2**t) / (1 - beta1**t),
        ),
        Slip("t counts from 1, so the powers are βᵗ", lambda t, beta1, beta2: missing_factor(t + 1, beta1, beta2)),
        Slip(
            "β₁ belongs to the first average, which stands in the numerator of the step, β₂ to the second",
            lambda t, beta1, beta2: missing_factor(t, beta2, beta1),
        ),
        Slip(
            "this holds for the first step only; at step t the corrections are 1 - βᵗ",
            lambda t, beta1, beta2: (1 - beta1) / math.sqrt(1 - beta2),
        ),
    ),
    hints=(
        "Write the step with the corrected averages m/(1 - β₁ᵗ) and v/(1 - β₂ᵗ), and the one with m and v. Divide.",
        "m and v cancel. What is left is (1 - β₁ᵗ) / √(1 - β₂ᵗ).",
    ),
)


def choose_rate(rates, scores, failed):
    value = scores.nan_to_num(nan=0.0).mean(dim=1) - failed.double().mean(dim=1)  # (H,)
    best = (value == value.max()).nonzero()[:, 0]
    return rates[best].min()


def _choice(value, pick=torch.min):
    """The rule with another value of each rate, or another pick among equals."""

    def answer(rates, scores, failed):
        worth = value(scores, failed.double())
        return pick(rates[worth == worth.max()])

    return answer


_RATES = float64(1e-5, 3e-5, 1e-4, 3e-4)
_NAN = math.nan

CHOOSE = Exercise(
    name="stabilizing.choose",
    returns="the learning rate with the highest mean score minus share of failed runs, the lowest of several",
    solution=choose_rate,
    cases=(
        Case(
            "the highest mean has a failed run",
            (
                _RATES,
                float64([0.5, 0.625, 0.5, 0.625], [0.75, 0.75, 0.75, 0.75], [1, 1, 1, 0.5], [0.5, 0.5, 0.5, 0.5]),
                torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]]).bool(),
            ),
        ),
        Case(
            "a failed run is outweighed by the mean",
            (
                float64(3e-4, 1e-4),
                float64([1, 1, 1, 0.5, 1, 1, 1, 1], [0.5, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75]),
                torch.tensor([[0, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]).bool(),
            ),
        ),
        Case(
            "two rates of equal worth, the higher one first",
            (
                float64(3e-4, 1e-4, 3e-5),
                float64([0.75, 1], [0.875, 0.875], [0.5, 0.625]),
                torch.zeros(3, 2).bool(),
            ),
        ),
        Case(
            "runs that diverged have no score",
            (
                float64(1e-4, 1e-3, 3e-5),
                float64([0.75, 0.75, 0.5], [1, _NAN, 1], [0.5, 0.625, 0.5]),
                torch.tensor([[0, 0, 1], [0, 1, 0], [1, 0, 1]]).bool(),
            ),
        ),
        Case(
            "no run failed; the best single run has another rate",
            (
                float64(2e-4, 1e-4, 5e-5),
                float64([0.75, 0.75, 0.75], [0.5, 1.0, 0.5], [0.75, 0.875, 0.75]),
                torch.zeros(3, 3).bool(),
            ),
        ),
    ),
    slips=(
        Slip(
            "the failed runs do not count: subtract their share",
            _choice(lambda scores, failed: scores.nan_to_num(nan=0.0).mean(dim=1)),
        ),
        Slip(
            "of rates of equal worth take the lowest, which is the safer one",
            _choice(lambda scores, failed: scores.nan_to_num(nan=0.0).mean(dim=1) - failed.mean(dim=1), torch.max),
        ),
        Slip(
            "a run that diverged has a score of 0, not none: leaving it out of the mean counts it as an average run",
            _choice(lambda scores, failed: scores.nanmean(dim=1) - failed.mean(dim=1)),
        ),
        Slip(
            "subtract the share of failed runs, not their number, or the rule depends on how many seeds you have",
            _choice(lambda scores, failed: scores.nan_to_num(nan=0.0).mean(dim=1) - failed.sum(dim=1)),
        ),
        Slip(
            "this is the best single run; a recipe is worth the mean over its seeds",
            _choice(
                lambda scores, failed: scores.nan_to_num(nan=0.0).max(dim=1).values - failed.mean(dim=1), torch.min
            ),
        ),
    ),
    hints=(
        "Give each rate one number: the mean of its row of scores (nan counts as 0) minus the mean of its row of "
        "failed.",
        "worth == worth.max() marks the best ones; rates[...].min() is the lowest of them.",
    ),
)


def reinitialize(state, noise, blocks, sigma):
    numbers = {name: int(name.split(".layer.")[1].split(".")[0]) for name in state if ".layer." in name}
    lowest = max(numbers.values()) + 1 - blocks  # the blocks from this one on are new
    made = []
    for name, w in state.items():
        if numbers.get(name, -1) < lowest and ".pooler." not in name:
            made.append(w)
        elif w.dim() == 2:
            made.append(sigma * noise[name])
        else:
            made.append(torch.ones_like(w) if "LayerNorm.weight" in name else torch.zeros_like(w))
    return tuple(made)


def _named(count, seed):
    """A small BERT's state dict with so many blocks, and noise of its shapes."""
    names = ["bert.embeddings.word_embeddings.weight", "bert.embeddings.LayerNorm.weight"]
    for n in range(count):
        at = f"bert.encoder.layer.{n}"
        names += [f"{at}.attention.self.query.weight", f"{at}.attention.self.query.bias"]
        names += [f"{at}.output.LayerNorm.weight", f"{at}.output.LayerNorm.bias"]
    names += ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"]
    matrix = ("embeddings.weight", "query.weight", "dense.weight", "classifier.weight")
    shapes = [(2, 2) if name.endswith(matrix) else (2,) for name in names]
    weights, noise = normal(len(names), 4, seed=seed) + 2, normal(len(names), 4, seed=seed + 100)
    return tuple(
        {
            name: rows[i, : math.prod(shape)].reshape(shape)
            for i, (name, shape) in enumerate(zip(names, shapes, strict=True))
        }
        for rows in (weights, noise)
    )


def _renewed(new, fill=None):
    """The rule with another idea of which names are new, or of what they become."""

    def answer(state, noise, blocks, sigma):
        numbers = [int(name.split(".layer.")[1].split(".")[0]) for name in state if ".layer." in name]
        everything = reinitialize(state, noise, len(set(numbers)), sigma)
        made = []
        for i, (name, w) in enumerate(state.items()):
            number = int(name.split(".layer.")[1].split(".")[0]) if ".layer." in name else None
            is_new = new(name, number, max(numbers), blocks)
            value = everything[i] if number is not None or ".pooler." in name else sigma * noise[name]
            made.append(w if not is_new else value if fill is None else fill(name, w, noise[name], sigma, value))
        return tuple(made)

    return answer


def _top(name, number, last, blocks):
    return ".pooler." in name or (number is not None and number > last - blocks)


REINITIALIZE = Exercise(
    name="stabilizing.reinitialize",
    returns="the tensors of the state dict, in its order, with the topmost blocks and the pooler drawn anew",
    solution=reinitialize,
    cases=(
        Case("one of three blocks", (*_named(3, 0), 1, 0.02)),
        Case("two of twelve blocks, so that 10 comes after 9", (*_named(12, 1), 2, 0.5)),
        Case("all of two blocks", (*_named(2, 2), 2, 0.1)),
    ),
    slips=(
        Slip(
            "the blocks at the bottom are new; the top ones, next to the head, have the highest numbers",
            _renewed(lambda name, number, last, blocks: ".pooler." in name or (number is not None and number < blocks)),
        ),
        Slip(
            "the pooler is still pre-trained; it stands above the top block and goes with it",
            _renewed(lambda name, number, last, blocks: number is not None and number > last - blocks),
        ),
        Slip(
            "a norm whose scale is 0 lets nothing through: LayerNorm's weights begin at 1",
            _renewed(_top, lambda name, w, noise, sigma, value: value if w.dim() == 2 else torch.zeros_like(w)),
        ),
        Slip(
            "biases begin at 0 and a norm at the identity; only matrices are drawn at random",
            _renewed(_top, lambda name, w, noise, sigma, value: sigma * noise),
        ),
        Slip(
            "the head is drawn anew as well; it was new before, and its seed decides it",
            _renewed(lambda name, number, last, blocks: _top(name, number, last, blocks) or "classifier" in name),
        ),
        Slip(
            "the numbers of the blocks are compared as text, where 9 comes after 11",
            _renewed(
                lambda name, number, last, blocks: (
                    ".pooler." in name
                    or (
                        number is not None
                        and str(number) in sorted((str(n) for n in range(last + 1)), reverse=True)[:blocks]
                    )
                )
            ),
        ),
    ),
    hints=(
        'int(name.split(".layer.")[1].split(".")[0]) is the number of a block, of a name that holds ".layer.".',
        "Of B blocks those numbered B - blocks and above are new. A matrix (two dimensions) becomes σ times its noise, "
        "a vector 0, but for LayerNorm.weight, which becomes 1.",
    ),
)


def shares(scores):
    heads, orders = scores.shape
    mean, rows, columns = scores.mean(), scores.mean(dim=1), scores.mean(dim=0)
    rest = scores - rows[:, None] - columns + mean
    ms_rest = (rest**2).sum() / ((heads - 1) * (orders - 1))
    var_init = (orders * rows.var() - ms_rest).clamp(min=0) / orders
    var_order = (heads * columns.var() - ms_rest).clamp(min=0) / heads
    total = var_init + var_order + ms_rest
    return var_init / total, var_order / total, ms_rest / total


def _components(scores):
    heads, orders = scores.shape
    rows, columns = scores.mean(dim=1), scores.mean(dim=0)
    rest = ((scores - rows[:, None] - columns + scores.mean()) ** 2).sum()
    return rows, columns, rest / ((heads - 1) * (orders - 1)), heads, orders


def _as_shares(*parts):
    clamped = [torch.as_tensor(part).clamp(min=0) for part in parts]
    return tuple(part / sum(clamped) for part in clamped)


def _not_taken_away(scores):
    rows, columns, rest, _, _ = _components(scores)
    return _as_shares(rows.var(), columns.var(), rest)


def _mean_squares(scores):
    rows, columns, rest, heads, orders = _components(scores)
    return _as_shares(orders * rows.var(), heads * columns.var(), rest)


def _unclamped(scores):
    rows, columns, rest, heads, orders = _components(scores)
    parts = rows.var() - rest / orders, columns.var() - rest / heads, rest
    return tuple(part / sum(parts) for part in parts)


def _swapped_counts(scores):
    rows, columns, rest, heads, orders = _components(scores)
    return _as_shares(rows.var() - rest / heads, columns.var() - rest / orders, rest)


_EFFECTS = normal(4, 1, seed=3) * 3 + normal(1, 6, seed=4) * 0.5 + normal(4, 6, seed=5) * 0.3

SHARES = Exercise(
    name="stabilizing.shares",
    returns="the shares of the variance that belong to the initialisation, to the order, and to the rest",
    solution=shares,
    cases=(
        Case("four heads, six orders, the head decides", (_EFFECTS,)),
        Case("five heads, three orders", (normal(5, 3, seed=6) + 2 * normal(1, 3, seed=7),)),
        Case("an effect that comes out below 0", (float64([1.0, 2.0, 3.0], [3.0, 1.0, 2.0], [2.0, 3.0, 1.1]),)),
    ),
    slips=(
        Slip(
            "the averages of rows vary because of the rest, too: take its share, MSₑ/J, away",
            _not_taken_away,
        ),
        Slip("these are mean squares; subtract that of the rest and divide by J and by I", _mean_squares),
        Slip("a variance that comes out below 0 counts as 0, before the shares are taken", _unclamped),
        Slip(
            "the average of a row is over J orders, that of a column over I heads: the rest is divided by J and by I",
            _swapped_counts,
        ),
        Slip(
            "the rows are the initialisations; they come first",
            lambda scores: (shares(scores)[1], shares(scores)[0], shares(scores)[2]),
        ),
    ),
    hints=(
        "First the three variances: rows, columns, and what is left after both are taken out.",
        "var_init = variance of the row means - MSₑ/J, at least 0. Divide each of the three by their sum.",
    ),
)


EXERCISES = (  # in the order of the page
    FACTOR,
    CHOOSE,
    REINITIALIZE,
    SHARES,
    LAYER_RATES,
    WEIGHT_AVERAGE,
)
