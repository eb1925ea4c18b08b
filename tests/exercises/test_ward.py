"""The twenty runs without names of notebook 11: verdicts on them are scored, and a word that is none is refused."""

from __future__ import annotations

import pytest

from stablelab.exercises import ward


def test_there_are_twenty_runs_sick_and_healthy_mixed_and_each_ailment_is_one_of_the_words() -> None:
    ailments = [case.ailment for case in ward.CASES]
    assert len(ailments) == 20
    assert set(ailments) == set(ward.AILMENTS)
    assert 5 <= ailments.count(ward.HEALTHY) <= 15


def test_the_truth_has_every_point_and_a_wrong_name_only_that_of_being_sick() -> None:
    truth = [case.ailment for case in ward.CASES]
    sick = sum(ailment != ward.HEALTHY for ailment in truth)
    assert ward.score(truth) == (20, sick, sick, 0)
    always = ward.score(["overfitting"] * 20)
    assert always == (sick, truth.count("overfitting"), sick, 20 - sick)
    assert ward.score([None] * 20) == (0, 0, sick, 0)


def test_a_word_that_is_no_verdict_is_named_with_its_run() -> None:
    with pytest.raises(ValueError, match=r"run 2 is 'ill'.*one of healthy"):
        ward.score(["healthy", "ill", *["healthy"] * 18])
    with pytest.raises(ValueError, match="20 cases, and 3"):
        ward.score(["healthy"] * 3)
