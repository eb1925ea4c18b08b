from . import data, doctor, exercises, formulas, models, plots, reports, stability, training, widgets
from .corruptions import robustness, show_corruptions
from .data.chinese_reviews import chinese_reviews
from .data.corruptions import corrupted
from .data.digits import digits
from .data.emoji import emoji, emoji_groups
from .data.images import images
from .data.pairs import Pairs, pairs
from .data.reviews import fetch_corpora, negation_pairs, reviews
from .data.sounds import sounds
from .data.spoken_digits import spoken_digits
from .data.tasks import as_dataset
from .data.texts import texts
from .data.tokenizers import tokenizer_for
from .doctor.examination import examine
from .doctor_callback import DoctorCallback
from .exercises.notebook import answer_or_solution, check, hints, progress
from .fine_tuning import fine_tune, load, reopen, replay
from .models.attention import attention_maps
from .models.attributions import attributions
from .models.bert import bert
from .models.clip import clip
from .models.imagenet import efficientnet
from .models.lora import lora
from .models.resnet import resnet
from .models.wav2vec import wav2vec
from .plots.attributions import show_attention, show_attributions
from .plots.display import show_pictures
from .plots.errors import show_confusion, show_mistakes
from .plots.robustness import show_robustness
from .reports.stability_report import stability_report
from .stability.hessian import hessian_vector_product, sharpness
from .stability.sweeps.grid import Subsets
from .stability.sweeps.results import Results
from .stability.sweeps.sweep import Sweep
from .sweeping import sweep
from .trainer_callback import DashboardCallback
from .training.control import Control
from .training.error_analysis import diagnose
from .training.evaluation import evaluate, predict
from .training.export import export
from .training.history import History
from .training.knobs import choice, slider
from .training.loop import steps
from .training.lr_range_test import range_test
from .training.records import Evaluation, Step
from .training.run import Run
from .training.settings import Settings
from .training.watched import Watched
from .watching import watch
from .widgets.dashboard import Dashboard, dashboard
from .widgets.map_view import stability_map_view
from .widgets.sweep_view import show_sweep

__all__ = [
    "Control",
    "Dashboard",
    "DashboardCallback",
    "DoctorCallback",
    "Evaluation",
    "History",
    "Pairs",
    "Results",
    "Run",
    "Settings",
    "Step",
    "Subsets",
    "Sweep",
    "Watched",
    "answer_or_solution",
    "as_dataset",
    "attention_maps",
    "attributions",
    "bert",
    "check",
    "chinese_reviews",
    "choice",
    "clip",
    "corrupted",
    "dashboard",
    "data",
    "diagnose",
    "digits",
    "doctor",
    "efficientnet",
    "emoji",
    "emoji_groups",
    "evaluate",
    "examine",
    "exercises",
    "export",
    "fetch_corpora",
    "fine_tune",
    "formulas",
    "hessian_vector_product",
    "hints",
    "images",
    "load",
    "lora",
    "models",
    "negation_pairs",
    "pairs",
    "plots",
    "predict",
    "progress",
    "range_test",
    "reopen",
    "replay",
    "reports",
    "resnet",
    "reviews",
    "robustness",
    "sharpness",
    "show_attention",
    "show_attributions",
    "show_confusion",
    "show_corruptions",
    "show_mistakes",
    "show_pictures",
    "show_robustness",
    "show_sweep",
    "slider",
    "sounds",
    "spoken_digits",
    "stability",
    "stability_map_view",
    "stability_report",
    "steps",
    "sweep",
    "texts",
    "tokenizer_for",
    "training",
    "watch",
    "wav2vec",
    "widgets",
]
__version__: str
