"""What a model gets wrong, against scikit-learn and counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import classification_report, confusion_matrix
from torch import Tensor, nn

from stablelab import data
from stablelab.training import Diagnosis, diagnose, evaluate


class Rows:
    """Examples whose inputs are their logits."""

    def __init__(self, logits: Tensor, targets: Tensor) -> None:
        self.logits, self.targets = logits, targets

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, batch_size: int):
        for at in torch.arange(len(self)).split(batch_size):
            yield self.logits[at], self.targets[at]


class Silent(Rows):
    """The same, batched from the last to the first, without saying so."""

    def batches(self, batch_size: int):
        for at in torch.arange(len(self)).flip(0).split(batch_size):
            yield self.logits[at], self.targets[at]


class Backward(Silent):
    """The same, and it says so."""

    def order(self) -> Tensor:
        return torch.arange(len(self)).flip(0)


class Echo(nn.Module):
    """Answers with what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x


def rows(C: int, kind: type[Rows] = Rows, n: int = 101) -> Rows:
    generator = torch.Generator().manual_seed(C)
    targets = torch.randint(C, (n,), generator=generator)
    logits = torch.randn(n, C, generator=generator) + 1.5 * nn.functional.one_hot(targets, C)
    return kind(logits, targets)


@pytest.mark.parametrize("C", [2, 10])
@pytest.mark.parametrize("kind", [Rows, Backward])
def test_all_measures_are_scikit_learns(C: int, kind: type[Rows]) -> None:
    split = rows(C, kind)
    split.logits[:, 1] -= 100.0  # a class that is never predicted
    found = diagnose(Echo(), split, batch_size=16)
    assert torch.equal(found.logits, split.logits) and torch.equal(found.targets, split.targets)
    true, said = split.targets.numpy(), split.logits.argmax(dim=1).numpy()
    assert np.array_equal(found.confusion.numpy(), confusion_matrix(true, said, labels=range(C)))
    assert found.accuracy == pytest.approx((true == said).mean())
    report = classification_report(true, said, labels=range(C), output_dict=True, zero_division=0)
    for name, row in found.per_class().iterrows():
        theirs = report[str(name)]
        assert list(row) == pytest.approx([theirs[c] for c in ("precision", "recall", "f1-score", "support")])
    assert found.per_class().loc["1", ["precision", "recall", "f1"]].tolist() == [0, 0, 0]


def test_counted_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]])
    found = diagnose(Echo(), Rows(logits, torch.tensor([0, 0, 1, 1])), classes=("bad", "good"))
    assert found.confusion.tolist() == [[1, 1], [1, 1]]
    assert found.losses[1].item() == pytest.approx(np.log(1 + np.exp(3.0)))
    assert found.probabilities.sum(dim=1).tolist() == pytest.approx([1] * 4)
    assert found.most_wrong() == [1, 2]
    assert found.per_class().to_dict("index")["good"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert repr(found) == "2 of 4 wrong (accuracy 0.500); bad taken for good: 1; good taken for bad: 1"


@pytest.mark.parametrize("C", [2, 10])
def test_the_most_wrong_come_first_and_right_ones_never(C: int) -> None:
    split = rows(C)
    found = diagnose(Echo(), split)
    losses = nn.functional.cross_entropy(split.logits, split.targets, reduction="none")
    wrong = [i for i in range(len(split)) if split.logits[i].argmax() != split.targets[i]]
    assert found.most_wrong(len(split)) == sorted(wrong, key=lambda i: -losses[i])
    assert found.most_wrong(3) == found.most_wrong(len(split))[:3]
    pairs = [(str(int(split.targets[i])), str(int(split.logits[i].argmax()))) for i in wrong]
    counts = [count for _, _, count in found.confused(C * C)]
    assert counts == sorted(counts, reverse=True) and sum(counts) == len(wrong)
    assert all(pairs.count((true, said)) == count for true, said, count in found.confused(C * C))


def test_nothing_wrong() -> None:
    found = diagnose(Echo(), Rows(torch.eye(3), torch.arange(3)))
    assert (found.most_wrong(), found.confused(), repr(found)) == ([], [], "0 of 3 wrong (accuracy 1.000)")


def test_more_logits_than_classes_are_called_by_their_number() -> None:
    found = diagnose(Echo(), Rows(torch.eye(4)[:2], torch.arange(2)), classes=("a", "b"))
    assert found.classes == ("a", "b", "2", "3")
    assert found.per_class()["support"].tolist() == [1, 1, 0, 0]


def test_it_agrees_with_the_evaluation_and_leaves_the_model_as_it_was(clouds, make_network) -> None:
    model = make_network().train()
    model[3].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    found = diagnose(model, clouds.validation, clouds.classes)
    assert isinstance(found, Diagnosis) and found.classes == clouds.classes
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    judged = evaluate(model, clouds.validation, nn.functional.cross_entropy)
    assert found.accuracy == pytest.approx(judged.accuracy)
    assert found.losses.mean().item() == pytest.approx(judged.loss, rel=1e-5)
    assert found.per_class()["f1"].mean() == pytest.approx(judged.f1)


@pytest.mark.parametrize(
    ("split", "arguments", "message"),
    [
        (Rows(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)), {}, "the split is empty"),
        (rows(3), {"classes": ("a", "b")}, "classes has 2 names; the split needs 3 and the model has 3 logits"),
        (rows(2), {"classes": tuple("abc")}, "classes has 3 names; the split needs 2 and the model has 2 logits"),
        (Rows(torch.eye(3), torch.tensor([0, 1, 3])), {}, "classes are 0 to 3, but the model has 3 logits"),
        (Rows(torch.eye(3) / 0, torch.arange(3)), {}, "logits are not finite on 3 of 3 examples; did it diverge"),
        (Rows(torch.zeros(3, 2, 2), torch.arange(3)), {}, r"answers with shape \(3, 2, 2\); a classifier's logits"),
        (rows(2), {"batch_size": 0}, "batch_size is 0; it must be a whole number of examples, 1 or more"),
        (rows(4, Silent), {}, r"another order than its targets; give it order\(\)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(split, arguments, message) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        diagnose(Echo(), split, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n", [0, 1.5, True])
def test_how_many_must_be_a_number(n) -> None:
    found = diagnose(Echo(), rows(2))
    for measure in (found.most_wrong, found.confused):
        with pytest.raises(ValueError, match="n is .*; it must be a whole number of"):
            measure(n)


class Words:
    """Sentences of several lengths, as the tasks of texts keep them; the length is all that a model can see."""

    def __init__(self, lengths: Tensor) -> None:
        self.lengths = lengths

    def take(self, positions: Tensor) -> dict[str, Tensor]:
        lengths = self.lengths[positions]
        return {"attention_mask": (torch.arange(int(lengths.max())) < lengths.unsqueeze(1)).long()}


class ByLength(Echo):
    def forward(self, attention_mask: Tensor) -> Tensor:
        length = attention_mask.sum(dim=1).float()  # (B,)
        return torch.stack([length, -length], dim=1)


def test_sentences_are_batched_by_length_and_diagnosed_in_their_own_order() -> None:
    lengths = torch.randint(1, 30, (50,), generator=torch.Generator().manual_seed(0))
    split = data.Split(Words(lengths), torch.arange(50) % 2, ("short", "long"))
    found = diagnose(ByLength(), split, batch_size=8)
    assert found.logits[:, 0].tolist() == lengths.tolist()
    assert torch.equal(found.targets, split.targets) and found.classes == split.classes
    assert found.most_wrong(1) == [max(range(1, 50, 2), key=lambda i: (int(lengths[i]), -i))]
