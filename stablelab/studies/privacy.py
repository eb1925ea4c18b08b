"""What heads and a small language model give away: ``python -m stablelab.studies.privacy``.

Membership inference on linear heads over frozen features of digits and of movie reviews: by examples a class, weight
decay, steps and augmentation. What batches that are drawn save of ε, by opacus. The exposure of codes planted in
reviews, on a small GPT-2, by epochs and duplicates. The results lie in the package; the command makes them anew in
about ten minutes on one core, and stopped at any time it goes on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data import digits, reviews
from ..data.augmentation import augment
from ..formulas.privacy import log_odds
from ..models import bert, resnet
from ..models.features import cached_features
from ..models.heads import head_of
from ..stability.membership import lira_scores, memberships, true_positive_rates
from ..stability.memorization import codes, secret_exposure, text_losses
from ..stability.private_heads import private_epsilon
from ..stability.sweeps.batched_heads import batched_logits, new_heads, train_heads
from ..stability.sweeps.execution import one_thread
from ..training.settings import Settings
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns

if TYPE_CHECKING:
    import pandas
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

FILE = KEPT / "privacy.npz"
TASKS = ("digits", "reviews")
FALSE_POSITIVE_RATES = torch.logspace(-3, 0, 31, dtype=torch.float64)
POOLS, STEPS = range(5), 100
HEADS = {"digits": 64, "reviews": 128}
RATE = {"digits": 1e-3, "reviews": 1e-2}  # of AdamW
EXAMPLES = {"digits": (4, 8, 16), "reviews": (4, 16, 64, 256)}  # members of each class, on average
REFERENCE = {"digits": 16, "reviews": 64}  # where decay, steps and augmentation vary
DECAYS = {"digits": (10.0, 100.0), "reviews": (1.0, 10.0, 100.0)}
FEWER_STEPS = (3, 10, 30)
SHIFTS, COPIES, AUGMENTED = (0.1,), 3, 480  # shares of the side; versions of each picture; pictures
SIGMA, PASSES, DELTA = 4.0, 30, 1e-5  # at which drawn batches are compared

LANGUAGE_SEEDS = range(5)
DUPLICATES = (0, 1, 4, 16)
EACH, EPOCHS, MEASURED = 2, 8, (2, 4, 8)  # codes of each number of duplicates; epochs after which exposure is told
REVIEWS = 400
DOORS = ("red", "blue", "green", "white", "black", "brown", "grey", "pink", "old", "new", "big", "small")
TEMPLATE = "the code of the {door} door is {{}}"


# -- what is trained on ------------------------------------------------------------------------------------------------


def task_and_model(name: str) -> tuple[Any, Any]:
    """The examples, and the pre-trained body whose features are kept."""
    if name == "digits":
        task = digits(train=3000, validation=1000, test=1000)
        return task, resnet(task)
    task = reviews("movies", neutral=1, train=4000, validation=400, test=1200, max_tokens=32)
    return task, bert(task, pooling="mean")


def features_of(name: str, folder: Path) -> dict[str, Tensor]:
    """x and y of each split, kept in a file of this folder."""
    file = folder / f"privacy.{name}.pt"
    if not file.exists():
        task = cached_features(*task_and_model(name))
        splits = {"train": task.train, "validation": task.validation, "test": task.test}
        found = {f"{n}_x": split.store.take(torch.arange(len(split))) for n, split in splits.items()}
        torch.save(found | {f"{n}_y": split.targets for n, split in splits.items()}, file)
    return dict(torch.load(file, weights_only=True))


@torch.no_grad()
def shifted_features(shift: float, folder: Path) -> Tensor:
    """(COPIES, AUGMENTED, D): of the first training digits, each shifted at random so many times."""
    file = folder / f"privacy.shifted {shift:g}.pt"
    if not file.exists():
        task, model = task_and_model("digits")
        seen: list[Tensor] = []
        model.eval()
        hook = head_of(model)[1].register_forward_pre_hook(lambda _, entering: seen.append(entering[0]))
        torch.manual_seed(0)
        for _ in range(COPIES):
            for positions in torch.arange(AUGMENTED).split(64):
                model(augment(task.train.store.take(positions), Settings(crop=shift)))
        hook.remove()
        torch.save(torch.cat(seen).view(COPIES, AUGMENTED, -1), file)
    found: Tensor = torch.load(file, weights_only=True)
    return found


def pool(targets: Tensor, examples: int, seed: int) -> Tensor:
    """Positions of 2 · ``examples`` of each class, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    classes = [(targets == c).nonzero()[:, 0] for c in targets.unique()]
    return torch.cat([those[torch.randperm(len(those), generator=generator)[: 2 * examples]] for those in classes])


# -- membership inference ----------------------------------------------------------------------------------------------


def shadow_heads(
    x: Tensor,
    y: Tensor,
    members: Tensor,
    classes: int,
    learning_rate: float,
    steps: int = STEPS,
    weight_decay: float = 0.0,
    copies: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Weights (R, C, D) and biases (R, C) of heads that AdamW trains, each with all of its members in every step.

    Args:
        x: (N, D) features.
        y: (N,) class numbers.
        members: (R, N) bool.
        classes: C.
        learning_rate: of AdamW.
        steps: of AdamW.
        weight_decay: of AdamW.
        copies: (K, N, D) features of changed versions of the same examples; each step then takes one of the K for each.
    """
    R, N = members.shape
    generator = torch.Generator()
    everything, labels = (x, y) if copies is None else (copies.flatten(0, 1), y.repeat(len(copies)))

    def order(r: int) -> Callable[[int], Tensor]:
        mine = members[r].nonzero()[:, 0]
        if copies is None:
            return lambda k: mine
        return lambda k: mine + N * torch.randint(len(copies), mine.shape, generator=generator.manual_seed(R * k + r))

    heads = train_heads(
        everything, labels, *new_heads(x.shape[1], classes, range(R)), [order(r) for r in range(R)],
        [Settings(learning_rate=learning_rate, weight_decay=weight_decay)] * R, steps,
    )  # fmt: skip
    return heads.weights, heads.biases


def attacked(weights: Tensor, biases: Tensor, x: Tensor, y: Tensor, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """φ (R, N), and the true positive rates (F,) of LiRA and of a threshold on the loss, over all heads together."""
    phi = log_odds(batched_logits(weights, biases, x), y.expand(len(weights), -1))
    rates = [
        true_positive_rates(scores.flatten(), members.flatten(), FALSE_POSITIVE_RATES)
        for scores in (lira_scores(phi, members), phi)  # the loss is ln(1 + e^-φ): it falls with φ
    ]
    return phi, rates[0], rates[1]


def membership_row(
    name: str, data: dict[str, Tensor], folder: Path, factor: str, level: float, seed: int
) -> dict[str, Any]:
    """One pool of examples, its heads, and how well their members are told from the others."""
    examples = REFERENCE[name]
    if factor == "examples per class":
        examples = int(level)
    x, y = data["train_x"], data["train_y"]
    if factor == "augmentation":  # the pool is of the pictures that were shifted
        x, y = x[:AUGMENTED], y[:AUGMENTED]
    where = pool(y, examples, seed)
    X, Y, classes = x[where], y[where], int(y.max()) + 1
    members = memberships(HEADS[name], len(X), seed)
    copies = shifted_features(level, folder)[:, where] if factor == "augmentation" and level else None
    steps = int(level) if factor == "steps" else STEPS
    decay = level if factor == "weight decay" else 0.0
    weights, biases = shadow_heads(X, Y, members, classes, RATE[name], steps, decay, copies)
    phi, lira, loss = attacked(weights, biases, X, Y, members)
    tested = (batched_logits(weights, biases, data["test_x"]).argmax(-1) == data["test_y"]).double().mean()
    right = (phi > 0) if classes == 2 else batched_logits(weights, biases, X).argmax(-1) == Y
    return {
        "task": name,
        "factor": factor,
        "level": level,
        "pool": seed,
        "accuracy": float(tested),
        "train_accuracy": float(right[members].double().mean()),
        "lira": lira.tolist(),
        "loss": loss.tolist(),
    }


def membership_arms(name: str) -> Iterator[tuple[str, float]]:
    """What is varied, and how far."""
    yield from (("examples per class", float(S)) for S in EXAMPLES[name])
    yield from (("weight decay", decay) for decay in DECAYS[name])
    yield from (("steps", float(T)) for T in FEWER_STEPS)
    if name == "digits":
        yield from (("augmentation", shift) for shift in (0.0, *SHIFTS))


# -- DP-SGD ------------------------------------------------------------------------------------------------------------


def prepared(x: Tensor) -> Tensor:
    """Each example's features with mean 0 and length 1: what is done to one needs nothing of the others."""
    return F.layer_norm(x, x.shape[1:]) / math.sqrt(x.shape[1])


def spent_rows() -> list[dict[str, Any]]:
    """ε of batches that are drawn, by both accountants of opacus, over shares q at one number of passes."""
    rows = []
    for share in (1.0, 0.5, 0.2, 0.1, 0.05):
        steps = round(PASSES / share)
        rows.append(
            {
                "share": share,
                "steps": steps,
                "prv": private_epsilon(SIGMA, steps, DELTA, share),
                "rdp": private_epsilon(SIGMA, steps, DELTA, share, "rdp"),
                "all": private_epsilon(SIGMA, steps, DELTA),
            }
        )
    return rows


# -- memorization ------------------------------------------------------------------------------------------------------


def word_pieces(texts: Sequence[str], size: int = 1000) -> PreTrainedTokenizerFast:
    """A tokenizer learned from these texts: byte pairs of words in small letters, each digit by itself."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    found = Tokenizer(models.BPE(unk_token="[UNK]"))
    found.normalizer = normalizers.Lowercase()
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["[PAD]", "[UNK]", "[END]"], show_progress=False)
    found.train_from_iterator([*texts, " ".join("0123456789")], trainer)
    found.post_processor = processors.TemplateProcessing(single="[END] $A [END]", special_tokens=[("[END]", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=found, pad_token="[PAD]", unk_token="[UNK]", bos_token="[END]", eos_token="[END]"
    )


def small_gpt2(vocabulary: int, seed: int, width: int = 64, layers: int = 2) -> GPT2LMHeadModel:
    """A GPT-2 of two layers, 64 wide, with new weights and without dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = GPT2Config(
        vocab_size=vocabulary, n_positions=128, n_embd=width, n_layer=layers, n_head=4, bos_token_id=2, eos_token_id=2,
        loss_type="ForCausalLM", **no_dropout,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def movie_texts(number: int) -> list[str]:
    """So many movie reviews of the training split."""
    task = reviews("movies", train=800, validation=200, test=200, max_tokens=32)
    return [str(task.train.raw(i)) for i in range(number)]


def planted(seed: int, duplicates: Sequence[int] = DUPLICATES, each: int = EACH) -> list[tuple[int, str, str]]:
    """(duplicates, template, secret) of every code: which door has which, and how often, is drawn with the seed."""
    draw = random.Random(seed)
    doors = iter(draw.sample(DOORS, len(DOORS)))
    found = []
    for count in duplicates:
        for _ in range(each):
            template = TEMPLATE.format(door=next(doors))
            found.append((count, template, template.format(" ".join(f"{draw.randrange(1000):03}"))))
    return found


def language_epochs(
    model: Any, tokenizer: Any, texts: Sequence[str], seed: int, learning_rate: float = 3e-3, batch_size: int = 32
) -> Iterator[float]:
    """Train on these texts, one pass after another for ever; yields the mean loss of each pass (nats a token)."""
    rows = [torch.tensor(ids[:40]) for ids in tokenizer(list(texts))["input_ids"]]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    while True:
        model.train()
        losses = []
        for batch in torch.randperm(len(rows), generator=generator).split(batch_size):
            ids = torch.nn.utils.rnn.pad_sequence([rows[i] for i in batch], batch_first=True)
            labels = torch.nn.utils.rnn.pad_sequence([rows[i] for i in batch], batch_first=True, padding_value=-100)
            logits = model(input_ids=ids, attention_mask=(labels >= 0).long()).logits[:, :-1]
            loss = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        yield sum(losses) / len(losses)


def memorization_rows(seed: int) -> list[dict[str, Any]]:
    """A small GPT-2 trained on reviews with codes among them, and the exposure of each code on the way."""
    texts = movie_texts(REVIEWS + 100)
    held_out = texts[REVIEWS:]
    secrets = planted(seed)
    corpus = texts[:REVIEWS] + [secret for count, _, secret in secrets for _ in range(count)]
    tokenizer = word_pieces(corpus)
    model = small_gpt2(len(tokenizer), seed)
    rows = []
    for epoch, loss in enumerate(language_epochs(model, tokenizer, corpus, seed), 1):
        if epoch in MEASURED:
            tokens = sum(len(ids) - 1 for ids in tokenizer(held_out)["input_ids"])
            held = float(text_losses(model, tokenizer, held_out).sum()) / tokens
            for count, template, secret in secrets:
                bits = secret_exposure(model, tokenizer, secret, codes(template), batch_size=500)
                rows.append(
                    {"seed": seed, "epoch": epoch, "duplicates": count, "bits": bits, "loss": loss, "held_out": held}
                )
        if epoch == EPOCHS:
            return rows
    raise AssertionError


# -- what lies in the package ------------------------------------------------------------------------------------------

TABLES = ("membership", "spent", "memorization")


def membership() -> pandas.DataFrame:
    """A row a pool of examples: task, factor, level, pool, accuracy (of test) and train_accuracy (of members)."""
    return read_table(FILE, prefix="membership_")


def curves() -> dict[str, np.ndarray]:
    """(rows of ``membership()``, F) true positive rates at ``FALSE_POSITIVE_RATES``, of "lira" and of "loss"."""
    return {name: read_column(FILE, f"membership_{name}").astype(float) for name in ("lira", "loss")}


def spent() -> pandas.DataFrame:
    """ε at σ = 4 and 30 passes, by the share that a batch draws: share, steps, prv, rdp, all (without drawing)."""
    return read_table(FILE, prefix="spent_")


def memorization() -> pandas.DataFrame:
    """Exposure of each code: seed, epoch, duplicates, bits, and the model's loss and held_out loss (nats a token)."""
    return read_table(FILE, prefix="memorization_")


def write(found: dict[str, list[dict[str, Any]]], file: Path, by: str) -> None:
    """Keep what was found as small as it can be."""
    columns: dict[str, Any] = {}
    for table, rows in found.items():
        for name in rows[0]:
            curve = isinstance(rows[0][name], list)
            columns[f"{table}_{name}"] = np.array([r[name] for r in rows], dtype=np.float16 if curve else None)
    write_columns(file, by, **columns)


def study(folder: Path, only: Sequence[str] = (*TASKS, "language")) -> dict[str, list[dict[str, Any]]]:
    """All that is not done yet; what the files of this folder have is not done again."""
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    for name in only:
        done = Done(folder / f"privacy.{name}.part.jsonl")
        if name == "language":
            for seed in LANGUAGE_SEEDS:
                found["memorization"] += done.once(("memorization", seed), memorization_rows, seed)
            found["spent"] += done.once("spent", spent_rows)
            continue
        data = features_of(name, folder)
        for seed in POOLS:
            for factor, level in membership_arms(name):
                row = done.once((factor, level, seed), membership_row, name, data, folder, factor, level, seed)
                found["membership"].append(row)
    return found


def main() -> None:
    """Do what is not done, and write the file."""
    parser = parser_of("privacy", __doc__)
    parser.add_argument("--only", choices=[*TASKS, "language"], help="do this part alone, in a file of its own")
    arguments = parser.parse_args()
    with one_thread():
        found = study(arguments.out, (arguments.only,) if arguments.only else (*TASKS, "language"))
    if arguments.only is None:
        write(found, arguments.out / FILE.name, f"CPU, one thread, torch {torch.__version__}")


if __name__ == "__main__":
    main()
