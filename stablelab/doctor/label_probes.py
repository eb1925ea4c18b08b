"""Probes of inputs and labels together: do the answers follow the inputs, and do the labels?"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from ..training.evaluation import forward, mode
from ..training.protocols import Inputs
from .control import Control, above_chance
from .findings import Cause, Finding
from .judging import UnknownError, made, write
from .probing import Numbers, Probe, in_turns, logits_of, on_device, restoring, spread
from .setup import Examples, TrainingSetup

LEARNT, JUDGED = 512, 256  # examples that the control learns from, and that it and the model are judged by
ASKED = 192  # training examples that the model is asked
KNOWN_BETTER = 0.225  # a difference of accuracies


# -- the model's answers -----------------------------------------------------------------------------------------------


def measure_answers(setup: TrainingSetup) -> dict[str, float]:
    """The model's answers in evaluation mode, to its own inputs, to those of others and to none; and a control's.

    Inputs that say nothing come in two kinds: those of another example, which cost no second look, and zeros.
    """
    with restoring(setup, weights=False):
        learnt, judged = in_turns(setup.train, ASKED), in_turns(setup.validation, JUDGED)
        of_train, of_validation = (
            logits_of(setup, setup.train, learnt),
            logits_of(setup, setup.validation, judged),
        )
        y, z = setup.train.targets[learnt].cpu().long(), setup.validation.targets[judged].cpu().long()
        empty = _empty(setup, setup.validation)
    C = of_train.shape[1]
    if int(max(y.max(), z.max())) >= C:
        raise UnknownError(f"a target is {int(max(y.max(), z.max()))}, and the model has {C} outputs")
    losses, others = F.cross_entropy(of_validation, z, reduction="none"), _shifted(of_validation, z)
    own = F.cross_entropy(of_train, y, reduction="none")
    counts = torch.bincount(setup.train.targets.cpu().long(), minlength=C).double()
    shares = counts / counts.sum()
    frequent = int(shares.argmax())
    rare = shares < 0.5 / C
    guesses = of_validation.argmax(dim=1)
    hits, learnt_hits = guesses == z, of_train.argmax(dim=1) == y
    is_rare = rare[z]
    better = (others - losses).double()
    return {
        "classes": C,
        "train": len(y),
        "validation": len(z),
        "train_loss": float(own.mean()),
        "train_accuracy": float(learnt_hits.double().mean()),
        "loss": float(losses.mean()),
        "accuracy": float(hits.double().mean()),
        "gain": float(better.mean()),
        "gain_error": float(better.std()) / math.sqrt(len(better)),
        "above_chance": above_chance(guesses, z, C),
        "train_above_chance": above_chance(of_train.argmax(dim=1), y, C),
        "empty_loss": float(F.cross_entropy(empty.expand(len(z), C), z)) if empty is not None else math.nan,
        "entropy": float(-(shares[shares > 0] * shares[shares > 0].log()).sum()),
        "frequent": float(shares[frequent]),
        "frequent_in_validation": float((z == frequent).double().mean()),
        "frequent_answers": float((guesses == frequent).double().mean()),
        "most_answered": float(torch.bincount(guesses, minlength=C).max()) / len(z),
        "rare": float(is_rare.sum()),
        "rare_accuracy": float(hits[is_rare].double().mean()) if bool(is_rare.any()) else math.nan,
        "common_accuracy": float(hits[~is_rare].double().mean()) if bool((~is_rare).any()) else math.nan,
        "train_sure_errors": _sure_errors(of_train, learnt_hits),
        "sure_errors": _sure_errors(of_validation, hits),
        "frozen": _frozen(setup),
        "text": float(isinstance(setup.train.collate(learnt[:1])[0], Mapping)),
        **_by_control(setup, judged),
    }


def _frozen(setup: TrainingSetup) -> float:
    """The share of the model's numbers that want no gradient."""
    parameters = list(setup.model.parameters())
    return sum(p.numel() for p in parameters if not p.requires_grad) / sum(p.numel() for p in parameters)


def _shifted(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of each target with the answer to another example."""
    return F.cross_entropy(logits.roll(1, 0), targets, reduction="none")


def _sure_errors(logits: Tensor, hits: Tensor) -> float:
    """The share of mistakes among the surer half of the answers."""
    sure = logits.softmax(dim=1).amax(dim=1)
    half = sure.argsort(descending=True)[: max(1, len(sure) // 2)]
    return float(1 - hits[half].double().mean())


def _empty(setup: TrainingSetup, examples: Examples) -> Tensor | None:
    """(1, C) the answer to an input of zeros; None for tokens, where 0 is a token like others."""
    inputs: Inputs = examples.collate(torch.arange(min(2, len(examples))))[0]
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        return None
    with torch.no_grad(), mode(setup.model, False):
        zeros, _ = on_device(setup, (torch.zeros_like(inputs), torch.zeros(len(inputs))))
        return forward(setup.model, zeros).float().cpu()[:1]


def no_information(numbers: Numbers) -> Finding | None:
    """The loss of the model's answers against that of the same answers given to other examples.

    Where they do not differ by two standard errors of the pairwise differences, and the hits are not more than two
    standard deviations above chance, validation inputs say nothing to the model. Where training examples are known by
    heart all the same (their loss below half of the entropy H of the label shares), labels and inputs may not belong
    together. Where a control finds the labels in the same inputs, the model cannot read what it gets.

    Source: Karpathy 2019, "A recipe for training neural networks" ("input independent baseline"). Two, not three, is a
    choice, as validation sets may be small; a model that has learnt passes both by far.
    """
    if not math.isfinite(numbers["loss"]):
        raise UnknownError("the loss is not finite")
    if numbers["validation"] < 20:
        raise UnknownError(f"{numbers['validation']:.0f} validation examples are too few; it takes 20")
    if numbers["gain"] > 2 * numbers["gain_error"] or numbers["above_chance"] > 2:
        return None
    causes = _why_nothing(numbers)
    return made(
        no_information,
        "the answers to validation examples do not depend on them",
        f"Their loss is {write(numbers['loss'])}, with the inputs exchanged {write(numbers['loss'] + numbers['gain'])} "
        f"(± {write(numbers['gain_error'])}); the training loss is {write(numbers['train_loss'])}, guessing costs "
        f"{write(numbers['entropy'])}.",
        causes,
        numbers=numbers,
        cure="look at ten examples beside their labels, as the model gets them",
        confidence="possible",
    )


def _why_nothing(numbers: Numbers) -> tuple[Cause, ...]:
    """What may be behind answers that do not depend on their inputs, the likeliest first."""
    if numbers["frequent"] > 0.7:
        return Cause.IMBALANCE, Cause.DATA_WITHOUT_INFORMATION, Cause.WRONG_LABELS
    if numbers["frozen"] > 0.5:
        return Cause.FROZEN, Cause.DATA_WITHOUT_INFORMATION, Cause.WRONG_LABELS
    if min(numbers["control_train"], numbers["control_validation"]) > 3:
        reading = (Cause.TOKENIZER, Cause.MASK) if numbers["text"] else (Cause.SATURATED, Cause.SCALE)
        return *reading, Cause.NO_GRADIENT, Cause.RATE_TOO_LOW
    if numbers["train_loss"] < 0.5 * numbers["entropy"]:
        return Cause.LABEL_NOISE, Cause.WRONG_LABELS, Cause.OVERFITTING, Cause.TOKENIZER
    return Cause.WRONG_LABELS, Cause.DATA_WITHOUT_INFORMATION, Cause.NO_GRADIENT, Cause.RATE_TOO_LOW


def worse_than_control(numbers: Numbers) -> Finding | None:
    """The model's validation accuracy against that of a control: kernel ridge regression on up to 512 examples.

    The control knows neither order of words nor places of pixels apart, and has no training but a matrix inverted. A
    fault where the model is worse by 12 points and by three standard errors, and the control three above chance.

    Source: Karpathy 2019, "A recipe for training neural networks" (a "dumb baseline"); Wang & Manning 2012, "Baselines
    and bigrams", for how good such controls are. 5 points are a choice.
    """
    mine, control = numbers["accuracy"], numbers["control_accuracy"]
    if numbers["control_validation"] <= 3:
        raise UnknownError("the quick control learns nothing from these inputs")
    error = math.sqrt(max(control * (1 - control), 0.01) / numbers["validation"])
    if control - mine <= max(0.12, 3 * error):
        return None
    reading = (Cause.TOKENIZER, Cause.MASK) if numbers["text"] else (Cause.SATURATED, Cause.SCALE)
    by_heart = numbers["train_accuracy"] > control and numbers["train_accuracy"] - mine > 0.25
    causes = (Cause.OVERFITTING, *reading) if by_heart else (*reading, Cause.RATE_TOO_LOW, Cause.NOT_LONG_ENOUGH)
    if numbers["frozen"] > 0.5:
        causes = (Cause.FROZEN, *causes[:3])
    return made(
        worse_than_control,
        "the model is worse than a quick control",
        f"Its validation accuracy is {100 * mine:.0f} %; kernel ridge regression on the same inputs has "
        f"{100 * control:.0f} %.",
        causes,
        numbers=numbers,
        cure="look at what the model gets: decode one batch of tokens, draw one batch of pictures",
        confidence="possible",
    )


def frequent_class(numbers: Numbers) -> Finding | None:
    """Classes with less than half of an equal share: their accuracy against that of the others.

    A fault where it is lower by a quarter and by three standard deviations; with fewer than eight such examples in
    validation nothing is known. A class that is rare but learnt is none.

    Source: Buda et al. 2018, "A systematic study of the class imbalance problem in convolutional neural networks",
    Section 3.4, for why the mean accuracy hides it. The quarter and the half are choices.
    """
    if math.isnan(numbers["rare_accuracy"]) and numbers["frequent"] < 2 / numbers["classes"]:
        return None
    if numbers["rare"] < 8:
        raise UnknownError(f"validation has {numbers['rare']:.0f} examples of rare classes; it takes 8")
    rare, common, n = numbers["rare_accuracy"], numbers["common_accuracy"], numbers["rare"]
    error = math.sqrt(max(common * (1 - common), 0.01) / n)
    if common - rare <= max(0.25, 3 * error):
        return None
    return made(
        frequent_class,
        "rare classes are not learnt",
        f"Rare classes are right in {100 * rare:.0f} % of {n:.0f} examples, the others in {100 * common:.0f} %. The "
        f"most frequent class is {100 * numbers['frequent']:.0f} % of the training data and "
        f"{100 * numbers['frequent_answers']:.0f} % of the answers.",
        (Cause.IMBALANCE,),
        numbers=numbers,
        cure="weight the loss by class (F.cross_entropy(weight=...)), or draw rare classes more often "
        "(WeightedRandomSampler); judge by macro-averaged F1",
        confidence="certain" if rare < 0.5 * common else "likely",
    )


def by_heart(numbers: Numbers) -> Finding | None:
    """Training accuracy against validation accuracy: how much is known by heart.

    A fault where they are more than 22.5 points apart and by three standard errors, and the training loss is below a
    third of the validation loss. A validation loss that rises tells less: it does so in healthy runs, too, whose
    answers only grow more certain, and ``joined`` does not ask ``overfitting`` where this gap is small.

    Source: Zhang et al. 2017, "Understanding deep learning requires rethinking generalization", Table 1 (random labels
    are learnt to 100 %). The third and the points are choices: of the development runs the healthy ones stay below 22
    points, those of 64 examples are above 23.
    """
    a, b = numbers["train_accuracy"], numbers["accuracy"]
    error = math.sqrt(max(b * (1 - b), 0.01) * (1 / numbers["train"] + 1 / numbers["validation"]))
    if a - b <= max(KNOWN_BETTER, 3 * error) or 3 * numbers["train_loss"] > numbers["loss"]:
        return None
    return made(
        by_heart,
        "training examples are known far better than others",
        f"Accuracy {100 * a:.0f} % on training examples, {100 * b:.0f} % on validation; loss "
        f"{write(numbers['train_loss'])} and {write(numbers['loss'])}.",
        (Cause.OVERFITTING, Cause.LABEL_NOISE, *((Cause.TOKENIZER,) if numbers["text"] else ())),
        numbers=numbers,
        cure="more data, augmentation, dropout or weight decay; and look at ten examples as the model gets them",
        confidence="possible",
    )


def wrong_labels(numbers: Numbers) -> Finding | None:
    """Mistakes where the model is sure: labels that are wrong at random are missed as often there as anywhere.

    A model that has learnt errs on hard examples, which it is unsure of: of its surer half it gets few wrong. Labels
    wrong at random, a share η of them, are missed in the surer half as well. A fault where the surer half of training
    or validation is wrong in more than 25 %, and in more than 0.7 of the share of all mistakes, while the answers are
    five standard deviations above chance, and no more than 5 points below a control's. A model that has wrong labels by
    heart hides them among its training examples, not in validation.

    Source: Northcutt et al. 2021, "Confident learning", Section 3 (labels against confident answers). 25 % and 0.7 are
    choices, set on development runs.
    """
    parts = {
        "training": (numbers["train_sure_errors"], 1 - numbers["train_accuracy"], numbers["train_above_chance"]),
        "validation": (numbers["sure_errors"], 1 - numbers["accuracy"], numbers["above_chance"]),
    }
    known = {name: part for name, part in parts.items() if part[2] > 5}
    if not known or numbers["accuracy"] < numbers["control_accuracy"] - 0.05:
        raise UnknownError("the model has not learnt enough to doubt any label")
    found = {name: part for name, part in known.items() if part[0] > 0.25 and part[0] > 0.7 * part[1]}
    if not found:
        return None
    name, (sure, every, _) = max(found.items(), key=lambda pair: pair[1][0])
    return made(
        wrong_labels,
        "labels contradict the model where it is sure",
        f"Of the {name} answers that the model is surest of, one half, {100 * sure:.0f} % are wrong, of all "
        f"{100 * every:.0f} %; the accuracy is {100 * numbers['train_accuracy']:.0f} % on training examples, "
        f"{100 * numbers['accuracy']:.0f} % on validation.",
        (Cause.LABEL_NOISE, Cause.OVERFITTING, Cause.WRONG_LABELS),
        numbers=numbers,
        cure="look at the examples with the highest loss, and label them again",
        confidence="likely",
    )


# -- the control -------------------------------------------------------------------------------------------------------


def _by_control(setup: TrainingSetup, judged: Tensor) -> dict[str, float]:
    """How well labels follow from inputs without the model, for the labels as they are and for their neighbours'."""
    with restoring(setup, weights=False):
        learnt = spread(setup.train, LEARNT)
        control = Control.of(setup.train.collate(learnt)[0], setup.validation.collate(judged)[0])
        y, z = setup.train.targets[learnt].cpu().long(), setup.validation.targets[judged].cpu().long()
    C = max(int(y.max()), int(z.max()), 1) + 1
    guesses, answers = control.left_out(y, C), control.answers(y, C)
    numbers = {
        "control_accuracy": float((answers == z).double().mean()),
        "control_train_accuracy": float((guesses == y).double().mean()),
        "control_train": above_chance(guesses, y, C),
        "control_validation": above_chance(answers, z, C),
    }
    for name, by in (("before", 1), ("after", -1)):
        moved = y.roll(by)
        numbers[f"control_{name}"] = above_chance(control.left_out(moved, C), moved, C)
    return numbers


def unrelated_labels(numbers: Numbers) -> Finding | None:
    """Labels that do not follow from their inputs, by a control that has nothing of the model in it.

    Kernel ridge regression judges every training example by all others. z counts the standard deviations that its hits
    are above those of the same answers in another order. A fault where z < 3 for the labels as they are and z > 4 for
    the labels moved by one place: they belong to the neighbours. Where z > 6 for the training labels and the same
    control is below 2 on validation, one of the two parts has other labels.

    Source: the control is Karpathy's "dumb baseline" (2019); its left-out answers Rasmussen & Williams 2006, eq. 5.12.
    z > 4 comes about by chance in one of 30,000 runs, 15,000 as there are two neighbours.
    """
    z, moved = numbers["control_train"], max(numbers["control_before"], numbers["control_after"])
    apart = z > 6 and numbers["control_validation"] < 2
    shifted = z < 3 and moved > 4
    if not shifted and not apart:
        if z < 3:
            raise UnknownError(f"the labels do not follow from the inputs for a quick control either (z = {write(z)})")
        return None
    where = "before" if numbers["control_before"] >= numbers["control_after"] else "after"
    return made(
        unrelated_labels,
        f"the labels fit the examples one place {'earlier' if where == 'after' else 'later'}"
        if shifted
        else "training and validation labels do not mean the same",
        f"A control without the model is {write(z)} standard deviations above chance on the training labels, "
        f"{write(moved)} with the labels moved by one, {write(numbers['control_validation'])} in validation.",
        (Cause.WRONG_LABELS,),
        numbers=numbers,
        cure="look at ten examples beside their labels; sort, drop and shuffle inputs and labels together",
        confidence="certain",
    )


PROBES = (
    Probe(measure_answers, unrelated_labels, "labels that belong to other inputs"),
    Probe(measure_answers, no_information, "answers that do not depend on the inputs"),
    Probe(measure_answers, worse_than_control, "a model worse than a quick control"),
    Probe(measure_answers, frequent_class, "rare classes that are not learnt"),
    Probe(measure_answers, wrong_labels, "labels that are wrong"),
    Probe(measure_answers, by_heart, "training examples known by heart"),
)
