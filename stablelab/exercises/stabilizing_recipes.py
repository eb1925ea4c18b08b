"""The exercises of notebook 09b on recipes: rates by layer, averaged weights."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def layer_rates(names, learning_rate, decay):
    blocks = 1 + max(int(name.split(".layer.")[1].split(".")[0]) for name in names if ".layer." in name)
    depths = []
    for name in names:
        if name.startswith("classifier"):
            depths.append(0)
        elif ".pooler." in name:
            depths.append(1)  # it goes with the top block
        elif ".layer." in name:
            depths.append(blocks - int(name.split(".layer.")[1].split(".")[0]))
        else:
            depths.append(blocks + 1)
    return torch.tensor([learning_rate * decay**depth for depth in depths], dtype=torch.float64)  # (N,)


def _by_depth(depth, rate=lambda learning_rate, decay, d: learning_rate * decay**d):
    """The rule with other depths, from the right one, the name and the number of blocks, or another formula."""

    def answer(names, learning_rate, decay):
        blocks = 1 + max(int(name.split(".layer.")[1].split(".")[0]) for name in names if ".layer." in name)
        rates = []
        for name in names:
            n = int(name.split(".layer.")[1].split(".")[0]) if ".layer." in name else None
            right = 0 if name.startswith("classifier") else 1 if ".pooler." in name else blocks + 1
            rates.append(rate(learning_rate, decay, depth(blocks - n if n is not None else right, name, blocks)))
        return torch.tensor(rates, dtype=torch.float64)

    return answer


def _bert(*blocks):
    names = ["bert.embeddings.word_embeddings.weight", "bert.embeddings.LayerNorm.bias"]
    names += [f"bert.encoder.layer.{n}.attention.self.query.weight" for n in blocks]
    return [*names, "bert.pooler.dense.weight", "classifier.weight", "classifier.bias"]


LAYER_RATES = Exercise(
    name="stabilizing.layer_rates",
    returns="the learning rate of each parameter, shape (N,), in the order of the names",
    solution=layer_rates,
    cases=(
        Case("six blocks, decay 0.65", (_bert(0, 1, 2, 3, 4, 5), 3e-4, 0.65)),
        Case("twelve blocks, decay 0.9", (_bert(*range(12)), 1.0, 0.9)),
        Case("two blocks, the head named first", (_bert(1, 0)[::-1], 0.1, 0.5)),
        Case("no decay", (_bert(0, 1, 2), 2e-5, 1.0)),
    ),
    slips=(
        Slip(
            "upside down: the head has the whole rate, and it falls towards the embeddings",
            _by_depth(lambda depth, name, blocks: blocks + 1 - depth),
        ),
        Slip(
            "the top block stands one layer under the head, and has the rate times decay once",
            _by_depth(lambda depth, name, blocks: depth - (".layer." in name)),
        ),
        Slip(
            "the embeddings are one layer below block 0",
            _by_depth(lambda depth, name, blocks: min(depth, blocks)),
        ),
        Slip(
            "the rate falls by a factor from layer to layer: a power of decay, not a multiple",
            _by_depth(
                lambda depth, name, blocks: depth,
                lambda learning_rate, decay, d: learning_rate * (1 - d * (1 - decay)),
            ),
        ),
        Slip(
            "the pooler belongs to the top block, not to the head",
            _by_depth(lambda depth, name, blocks: 0 if ".pooler." in name else depth),
        ),
    ),
    hints=(
        "How many layers under the head is each parameter? The head 0, the top block and the pooler 1, … Count the "
        "blocks in the names.",
        "With B blocks, block n lies B - n layers under the head and the embeddings B + 1; rate = η · decay^depth.",
    ),
)


def weight_average(start, path, beta):
    average = start
    for theta in path:
        average = beta * average + (1 - beta) * theta
    return average


def _from(begin, step, end=lambda average, beta, t: average):
    """An average that begins, goes on or ends otherwise."""

    def answer(start, path, beta):
        average = begin(start, path)
        for theta in path:
            average = step(average, theta, beta)
        return end(average, beta, len(path))

    return answer


def _right_step(average, theta, beta):
    return beta * average + (1 - beta) * theta


WEIGHT_AVERAGE = Exercise(
    name="stabilizing.average",
    returns="the moving average of the weights after the last step, which began at the pre-trained ones",
    solution=weight_average,
    cases=(
        Case("weights that do not move", (float64(1.0, -2.0), float64([1.0, -2.0]).expand(5, 2).clone(), 0.9)),
        Case("four steps, β = 0.5", (float64(2.0, 2.0, 0.0), normal(4, 3, seed=8), 0.5)),
        Case("thirty steps, β = 0.9", (normal(2, seed=9), normal(30, 2, seed=10).cumsum(0), 0.9)),
        Case("no memory", (float64(5.0), float64(1.0, 2.0, 4.0)[:, None], 0.0)),
    ),
    slips=(
        Slip(
            "weights that have not moved at all come out much too small after a few steps",
            _from(lambda start, path: torch.zeros_like(start), _right_step),
        ),
        Slip(
            "weights that have not moved come out right, but those that did hardly arrive in the average",
            _from(lambda start, path: start, lambda average, theta, beta: (1 - beta) * average + beta * theta),
        ),
        Slip(
            "divided by 1 - βᵗ the average forgets the pre-trained weights, which are part of it",
            _from(
                lambda start, path: torch.zeros_like(start),
                _right_step,
                lambda average, beta, t: average / (1 - beta**t),
            ),
        ),
        Slip(
            "this weighs every step alike; a moving average forgets the early ones",
            lambda start, path, beta: torch.cat([start[None], path]).mean(dim=0),
        ),
        Slip(
            "the average begins at the first weights of the path instead of the pre-trained ones",
            _from(lambda start, path: path[0], _right_step),
        ),
    ),
    hints=(
        "Try it with weights that never move: the average of equal numbers is that number.",
        "Before the first step there is already something to average: the weights that training starts from.",
    ),
)
