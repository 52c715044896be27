"""Numbers that judge answers: arrays in, numbers out."""

from .annotation import accuracy, balanced_accuracy, compatible, hierarchical_scores, macro_f1, steps_up
from .perturbation import PerturbationScores, perturbation_scores
from .uncertainty import (
    Bins,
    SetQuality,
    area_under_risk,
    brier_score,
    coverage_and_size,
    expected_calibration_error,
    false_alarms,
    negative_log_likelihood,
    reliability_bins,
    risk_coverage,
    unknown_auroc,
    wilson_interval,
)

__all__ = [
    "Bins",
    "PerturbationScores",
    "SetQuality",
    "accuracy",
    "area_under_risk",
    "balanced_accuracy",
    "brier_score",
    "compatible",
    "coverage_and_size",
    "expected_calibration_error",
    "false_alarms",
    "hierarchical_scores",
    "macro_f1",
    "negative_log_likelihood",
    "perturbation_scores",
    "reliability_bins",
    "risk_coverage",
    "steps_up",
    "unknown_auroc",
    "wilson_interval",
]
