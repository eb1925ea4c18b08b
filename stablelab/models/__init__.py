"""Pre-trained models: BERT, ResNet and EfficientNet, their heads, layers and features, and what an answer rests on."""

from .attention import AttentionMaps, attention_maps
from .attributions import Attributions, attributions
from .bert import bert
from .features import FeatureTask, cached_features
from .fitting import check_fits
from .fractals.ifs import fractal_images
from .fractals.weights import verify_fractal_weights
from .heads import freeze, head_of, unfreeze
from .imagenet import efficientnet, fetch_efficientnet
from .inventory import inventory
from .layers import layer_names, layers_of
from .lora import lora
from .pretraining import linear_probe, mask_tokens, probe_hits
from .reinitializing import reinitialize_layers
from .resnet import resnet
from .wav2vec import wav2vec

__all__ = [
    "AttentionMaps",
    "Attributions",
    "FeatureTask",
    "attention_maps",
    "attributions",
    "bert",
    "cached_features",
    "check_fits",
    "efficientnet",
    "fetch_efficientnet",
    "fractal_images",
    "freeze",
    "head_of",
    "inventory",
    "layer_names",
    "layers_of",
    "linear_probe",
    "lora",
    "mask_tokens",
    "probe_hits",
    "reinitialize_layers",
    "resnet",
    "unfreeze",
    "verify_fractal_weights",
    "wav2vec",
]
