"""What a stability report says besides its numbers: what each of them is, where it comes from, how to read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """Of a number.

    Arguments:
        name: as it stands above its column.
        says: what it is.
        source: paper, year, section or equation; of the interval too.
    """

    name: str
    says: str
    source: str


_BCA = "Interval: BCa bootstrap over the runs (Efron 1987)."

DEFINITIONS = {
    "accuracy": Definition(
        "accuracy",
        "Share of the validation split that is predicted right, as the mean over runs that did not diverge.",
        _BCA,
    ),
    "deviation": Definition(
        "standard deviation",
        "√(Σ (x − x̄)² / (R − 1)) of the accuracies of R runs that differ in their seeds alone, in percentage points.",
        f"Over seeds: Dodge et al. 2020; Mosbach et al. 2021. {_BCA}",
    ),
    "range": Definition(
        "range",
        "Largest minus smallest accuracy, in percentage points. It describes these runs and grows with their number, "
        "so it has no interval.",
        "Wilks 1941, on how many further runs lie between the extremes.",
    ),
    "loss": Definition(
        "validation loss",
        "Mean cross-entropy (nats) on the validation split, as the mean over runs that did not diverge. A mean over "
        "survivors flatters: read it with the failed runs.",
        _BCA,
    ),
    "failed": Definition(
        "failed runs",
        "Share of runs that diverged, or ended at or below the accuracy of always guessing the most frequent class.",
        "Mosbach, Andriushchenko & Klakow 2021, Section 3. Interval: Wilson 1927.",
    ),
    "churn": Definition(
        "churn",
        "Share of the validation split that two runs put into different classes, as the mean over all pairs of runs. "
        "Two runs of one accuracy may still disagree.",
        "Milani Fard et al. 2016; Bhojanapalli et al. 2021. Interval: percentile bootstrap over the runs.",
    ),
    "calibration": Definition(
        "calibration error",
        "Expected calibration error: |accuracy − confidence| in 15 bins of equal width, each weighed by its examples; "
        "of each run, then the mean over runs. With few examples it comes out too high.",
        f"Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017, eq. 3. {_BCA}",
    ),
    "clipped": Definition(
        "clipped steps",
        "Share of the optimizer steps whose gradient was shortened, as the mean over runs.",
        f"Clipping by the norm: Pascanu, Mikolov & Bengio 2013. {_BCA}",
    ),
    "steps": Definition(
        "steps to the loss",
        "Optimizer steps until the training loss, averaged over the last 10 steps, is at or below half the loss at the "
        "start; the median over runs, in which a run that never gets there counts as slower than any other.",
        "Interval: order statistics (Conover 1999, Section 3.2); it takes six runs.",
    ),
    "sharpness": Definition(
        "sharpness λ_max",
        "Largest eigenvalue of the Hessian of the training loss, at the end of training.",
        f"Cohen et al. 2021. {_BCA}",
    ),
    "edge": Definition(
        "λ_max · η / 2",
        "Sharpness over 2/η, the largest at which plain full-batch gradient descent is stable: above 1, a step along "
        "the sharpest direction overshoots. Adam's threshold is another one (Cohen et al. 2022).",
        f"Cohen et al. 2021. {_BCA}",
    ),
    "sensitivity": Definition(
        "learning-rate sensitivity",
        "Mean over the learning rates η of min(loss(η), loss at the start) − the best loss (nats). 0: every rate does "
        "as well as the best one.",
        "Wortsman et al. 2023, Section 2. Interval: percentile bootstrap over the seeds.",
    ),
    "variance": Definition(
        "variance by cause",
        "The accuracy's variance, split into seed of the new weights (init), order of the data (order), training "
        "subset where there are several, and the rest: what they make together.",
        "Crossed design: Dodge et al. 2020. Estimates: Searle, Casella & McCulloch 1992, Chapter 4. Intervals: "
        "Weerahandi 1993, for normal effects.",
    ),
}

HOW_TO_READ = (
    "Square brackets hold a 95 % confidence interval: made anew for many repetitions of the whole experiment, such "
    "intervals would hold the true value in about 95 of 100. The method is named with each definition.",
    "Intervals of fewer than ten runs are too narrow. In trials with normal scores, what is called 95 % held the true "
    "standard deviation in 64 of 100 with 5 runs, in 83 with 10, in 89 with 20.",
    "The intervals take the runs of a setting as independent. Where seeds were crossed, runs share some of them, and "
    "the intervals are too narrow.",
    "Two settings whose intervals overlap widely have not been told apart; more seeds would be needed.",
    "Everything was measured on the validation split. The setting that comes out best of many is flattered by chance: "
    "judge it on new seeds, and once on the test split.",
    "Colours: brighter is better. A hatched cell is a setting whose runs all diverged, a dotted one was not run.",
)

ONE_SEED = (
    "Each setting was run once. So there is no spread and no interval, and nothing here tells a difference between "
    "settings from chance; run the sweep with more seeds."
)
FEW_SEEDS = "Settings with fewer than ten runs have intervals that are too narrow: take them as a hint."
