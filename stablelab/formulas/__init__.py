"""The mathematics of the workbook as pure functions, in the symbols of the papers."""

from __future__ import annotations

from .attention import attention_weights, causal_mask, info_nce, scaled_dot_product_attention
from .attribution import attention_rollout, rank_correlation, ranks
from .averaging import moving_average
from .clipping import (
    CLIPS,
    clip_,
    clip_by_global_norm,
    clip_by_tensor_norm,
    clip_by_value,
    clip_coefficient,
    clip_unread_,
    global_norm,
)
from .contrastive import clip_gradients, clip_loss, recall_at, similarities
from .ctc import collapse, ctc_loss
from .data_parallel import bytes_per_device, bytes_sent_per_step, ring_all_reduce, ring_all_reduce_bytes
from .distillation import distillation_loss, soft_loss
from .label_noise import (
    confident_joint,
    confidently_wrong,
    estimated_joint,
    measured_accuracy,
    precision_and_recall,
    symmetric_noise,
)
from .lora import lora, lora_merged
from .losses import cross_entropy, log_softmax, mean_squared_error
from .memory import (
    adafactor_bytes,
    checkpointed_bytes,
    encoder_activation_bytes,
    encoder_layer_bytes,
    optimizer_bytes,
    resnet18_activation_bytes,
    step_bytes,
)
from .noise_scale import SCALINGS, best_rate, noise_scale, scaled_rate, unbiased_moments
from .optimizers import adam, adamw, gradient_descent, lamb, momentum, trust_ratio
from .privacy import (
    exposure,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_mu,
    gaussian_noise_multiplier,
    gaussian_trade_off,
    log_likelihood_ratio,
    log_odds,
    private_gradient,
)
from .pruning import gradual_sparsity, magnitude_masks
from .quantization import dequantize_int8, quantize_int8
from .regularization import dropout, early_stopping, l1, l2, l2_sp, mixout, smoothed_targets, soft_threshold
from .sam import sam_ascent
from .schedules import (
    SCHEDULES,
    check_end,
    constant,
    cosine,
    exponential,
    linear,
    missing_correction,
    multiplier,
    plateau,
    warmup,
)
from .wav2vec import contrastive_loss, diversity_loss, mask_spans, sample_distractors

__all__ = [
    "CLIPS",
    "SCALINGS",
    "SCHEDULES",
    "adafactor_bytes",
    "adam",
    "adamw",
    "attention_rollout",
    "attention_weights",
    "best_rate",
    "bytes_per_device",
    "bytes_sent_per_step",
    "causal_mask",
    "check_end",
    "checkpointed_bytes",
    "clip_",
    "clip_by_global_norm",
    "clip_by_tensor_norm",
    "clip_by_value",
    "clip_coefficient",
    "clip_gradients",
    "clip_loss",
    "clip_unread_",
    "collapse",
    "confident_joint",
    "confidently_wrong",
    "constant",
    "contrastive_loss",
    "cosine",
    "cross_entropy",
    "ctc_loss",
    "dequantize_int8",
    "distillation_loss",
    "diversity_loss",
    "dropout",
    "early_stopping",
    "encoder_activation_bytes",
    "encoder_layer_bytes",
    "estimated_joint",
    "exponential",
    "exposure",
    "gaussian_delta",
    "gaussian_epsilon",
    "gaussian_mu",
    "gaussian_noise_multiplier",
    "gaussian_trade_off",
    "global_norm",
    "gradient_descent",
    "gradual_sparsity",
    "info_nce",
    "l1",
    "l2",
    "l2_sp",
    "lamb",
    "linear",
    "log_likelihood_ratio",
    "log_odds",
    "log_softmax",
    "lora",
    "lora_merged",
    "magnitude_masks",
    "mask_spans",
    "mean_squared_error",
    "measured_accuracy",
    "missing_correction",
    "mixout",
    "momentum",
    "moving_average",
    "multiplier",
    "noise_scale",
    "optimizer_bytes",
    "plateau",
    "precision_and_recall",
    "private_gradient",
    "quantize_int8",
    "rank_correlation",
    "ranks",
    "recall_at",
    "resnet18_activation_bytes",
    "ring_all_reduce",
    "ring_all_reduce_bytes",
    "sam_ascent",
    "sample_distractors",
    "scaled_dot_product_attention",
    "scaled_rate",
    "similarities",
    "smoothed_targets",
    "soft_loss",
    "soft_threshold",
    "step_bytes",
    "symmetric_noise",
    "trust_ratio",
    "unbiased_moments",
    "warmup",
]
