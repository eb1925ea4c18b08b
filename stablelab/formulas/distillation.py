"""Distillation: a small model learns from what a large one finds likely, not only from what is right."""

from __future__ import annotations

from torch import Tensor

from .._validation import number, same_shape
from .losses import cross_entropy, log_softmax


def soft_loss(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · KL(p ‖ q), the mean over the batch, with p = softmax(v/T) of the teacher and q = softmax(z/T).

    The gradient of KL(p ‖ q) with respect to a student's logit is (q_i - p_i) / T. For T large against the logits
    q_i ≈ (1 + (z_i - z̄)/T) / C, so that it is (z_i - v_i) / (C T²) for logits of mean 0: it falls with 1/T². The
    factor T² undoes it, so that the weight against another loss means the same at every temperature; the gradient is
    T (q_i - p_i), and in the limit of a large T that of half the squared difference of the logits, over C.

    Convention: KL, not the cross-entropy of the paper. They differ by the teacher's entropy, which no weight of the
    student changes: the gradient is the same, and KL is 0 where student and teacher agree.

    Args:
        logits: z, the student's, (N, C), floating point.
        teacher_logits: v, same shape. Nothing flows back into them.
        temperature: T, above 0; above 1 it shows which wrong classes the teacher finds less wrong.

    Returns:
        The loss in nats (times T²), a 0-dim tensor, at least 0.

    Raises:
        ValueError: shapes that differ or are not (N, C), an empty batch, or a temperature that is not above 0.

    Source:
        Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network", Section 2 (T²) and 2.1,
        Equations 2 to 4.
    """
    same_shape("logits", logits, "teacher_logits", teacher_logits)
    if logits.dim() != 2 or len(logits) == 0:
        raise ValueError(f"soft_loss needs logits (N, C) of at least one example, not {tuple(logits.shape)}")
    T = number("temperature", temperature, above=0)
    log_q = log_softmax(logits / T)
    log_p = log_softmax(teacher_logits.detach() / T)
    return T**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


def distillation_loss(
    logits: Tensor, teacher_logits: Tensor, targets: Tensor, temperature: float = 2.0, weight: float = 0.5
) -> Tensor:
    """λ · T² KL(p ‖ q) + (1 - λ) · cross-entropy with the right classes, that at temperature 1.

    Args:
        logits: z, the student's, (N, C).
        teacher_logits: v, same shape.
        targets: (N,), the right class of each example.
        temperature: T, above 0.
        weight: λ, in [0, 1]: 0 is learning without a teacher, 1 without labels.

    Raises:
        ValueError: as ``soft_loss`` and ``cross_entropy``, or a weight outside its range.

    Source:
        Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network", Section 2.
    """
    weight = number("weight", weight, at_least=0, at_most=1)
    soft = soft_loss(logits, teacher_logits, temperature)
    return weight * soft + (1 - weight) * cross_entropy(logits, targets)
