"""wav2vec 2.0: hide spans of a sound, and tell from the rest which of some candidates was there."""

from __future__ import annotations

import torch
from torch import Tensor

from .._validation import number, same_shape, whole


def mask_spans(n: int, frames: int, p: float, span: int, generator: torch.Generator) -> Tensor:
    """Hide spans of frames: each frame is with probability p the first of a span of M frames; spans may overlap.

    A frame stays visible if none of the M frames up to itself begins a span, so far from the start of the sound the
    share that is hidden is 1 - (1 - p)^M.

    Convention: a draw for each frame, so that the number of spans is random. The paper samples a proportion p of the
    frames without replacement, which has the same mean.

    Args:
        n: B, how many sounds.
        frames: T, of each.
        p: in [0, 1].
        span: M, at least 1.
        generator: all randomness comes from here.

    Returns:
        (B, T) boolean, True where hidden. At least two frames of each sound are, so that there is one to find and one
        to mistake it for.

    Raises:
        ValueError: fewer than two frames, or an argument outside its range.

    Source:
        Baevski, Zhou, Mohamed and Auli 2020, "wav2vec 2.0", Section 3.1 (masking) and 4.2 (p = 0.065, M = 10).
    """
    n, frames, span = whole("n", n, 1), whole("frames", frames, 2), whole("span", span, 1)
    p = number("p", p, at_least=0, at_most=1)
    starts = torch.rand(n, frames, generator=generator) < p
    hidden = torch.zeros(n, frames, dtype=torch.bool)
    for j in range(min(span, frames)):
        hidden[:, j:] |= starts[:, : frames - j]
    few = (hidden.sum(1) < 2).nonzero().flatten()
    if len(few):
        first = torch.randint(frames - 1, (len(few),), generator=generator)
        hidden[few, first] = hidden[few, first + 1] = True
    return hidden


def sample_distractors(hidden: Tensor, K: int, generator: torch.Generator) -> Tensor:
    """For each hidden frame K other hidden frames of the same sound, drawn uniformly with replacement.

    Args:
        hidden: (B, T) boolean, at least two True in each row.
        K: how many, at least 1.
        generator: all randomness comes from here.

    Returns:
        (M, K) int64, positions among the M hidden frames in row-major order, as ``q[hidden]`` has them.

    Raises:
        ValueError: a sound with fewer than two hidden frames.

    Source:
        Baevski, Zhou, Mohamed and Auli 2020, "wav2vec 2.0", Section 3.2.
    """
    K = whole("K", K, 1)
    if hidden.dim() != 2 or hidden.dtype != torch.bool or int(hidden.sum(1).min()) < 2:
        raise ValueError("hidden must be boolean (B, T) with at least two frames of each sound True")
    counts = hidden.sum(1)
    begin, count = ((each.repeat_interleave(counts))[:, None] for each in (counts.cumsum(0) - counts, counts))
    own = torch.arange(int(counts.sum()))[:, None] - begin
    drawn = (torch.rand(len(own), K, generator=generator, dtype=torch.float64) * (count - 1)).long()
    return begin + drawn + (drawn >= own)  # all but the frame itself, each as likely


def contrastive_loss(c: Tensor, q: Tensor, distractors: Tensor, temperature: float = 0.1) -> Tensor:
    """L_m = -log of exp(sim(c, q) / κ) over the sum of exp(sim(c, q̃) / κ) of the true q and of K distractors.

    sim is the cosine. A distractor that equals q in all its numbers (the same codes) is left out.

    Args:
        c: (M, D), what the context network says of each hidden frame.
        q: (M, D), what was there, quantized.
        distractors: (M, K, D).
        temperature: κ, above 0.

    Returns:
        The mean over the frames, in nats, a 0-dim tensor.

    Raises:
        ValueError: shapes that do not fit, no frame, or a temperature that is not above 0.

    Source:
        Baevski, Zhou, Mohamed and Auli 2020, "wav2vec 2.0", Equation 3.
    """
    same_shape("c", c, "q", q)
    if c.dim() != 2 or not len(c) or distractors.dim() != 3 or distractors[:, 0].shape != q.shape:
        shapes = f"{tuple(c.shape)} and {tuple(distractors.shape)}"
        raise ValueError(f"contrastive_loss needs c and q (M, D) and distractors (M, K, D), not {shapes}")
    kappa = number("temperature", temperature, above=0)
    candidates = torch.cat([q[:, None], distractors], dim=1)  # (M, 1 + K, D)
    scores = torch.cosine_similarity(c[:, None], candidates, dim=-1) / kappa  # (M, 1 + K)
    same = (distractors == q[:, None]).all(dim=-1)
    scores = torch.cat([scores[:, :1], scores[:, 1:].masked_fill(same, -torch.inf)], dim=1)
    return (scores.logsumexp(dim=1) - scores[:, 0]).mean()


def diversity_loss(probabilities: Tensor) -> Tensor:
    """1 - Σ_g exp(H(p̄_g)) / (G V): the share of the codewords that is not in use.

    p̄_g is the mean over the frames of the softmax over the V entries of codebook g, H the entropy in nats, so exp(H)
    is V where all are used alike and 1 where one is used alone.

    Convention: the paper's Equation 4 writes the loss as -Σ_g H(p̄_g) / (G V); footnote 2 says that its code takes
    exp(H), as here and in transformers. The minimum is the same, all entries in equal use.

    Args:
        probabilities: (M, G, V), of M hidden frames; each row of V sums to 1.

    Returns:
        A 0-dim tensor, from 0 to 1 - 1 / V.

    Raises:
        ValueError: not three dimensions, or no frame.

    Source:
        Baevski, Zhou, Mohamed and Auli 2020, "wav2vec 2.0", Equation 4 and footnote 2; transformers,
        ``Wav2Vec2ForPreTraining``.
    """
    if probabilities.dim() != 3 or not len(probabilities):
        raise ValueError(f"probabilities must be (M, G, V) of at least one frame, not {tuple(probabilities.shape)}")
    mean = probabilities.mean(dim=0)  # (G, V)
    entropy = -torch.xlogy(mean, mean).sum(dim=1)
    return 1 - entropy.exp().sum() / mean.numel()
