from __future__ import annotations

import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_curve
from support.helpers import normal

from stablelab.stability import lira_scores, memberships, true_positive_rates

RATES = torch.tensor([0.0, 0.001, 0.01, 0.1, 0.5, 1.0])


def test_every_example_is_in_half_of_the_models() -> None:
    members = memberships(16, 200, 3)
    assert members.dtype == torch.bool and bool((members.sum(0) == 8).all())
    assert torch.equal(members, memberships(16, 200, 3)) and not torch.equal(members, memberships(16, 200, 4))
    assert 80 < members.sum(1).double().mean().item() < 120


@pytest.mark.parametrize("shared", [False, True])
def test_scores_are_those_of_fits_without_the_model_that_is_attacked(shared: bool) -> None:
    members = memberships(10, 6, 0)
    phi = normal(10, 6) + 2 * members + 100  # a large mean costs no digits
    found = lira_scores(phi, members, shared)
    for r in range(10):
        rest = [k for k in range(10) if k != r]
        fits = []
        for side in (True, False):
            samples = [phi[rest, i][members[rest, i] == side] for i in range(6)]
            fits.append(([s.mean() for s in samples], torch.stack([s.var(correction=0) for s in samples])))
        for i in range(6):
            inside, outside = (
                stats.norm.logpdf(phi[r, i], means[i], (variances.mean() if shared else variances[i]) ** 0.5)
                for means, variances in fits
            )
            assert found[r, i].item() == pytest.approx(inside - outside, rel=1e-9, abs=1e-9)


def test_rates_are_those_of_scikit_learn() -> None:
    members = memberships(20, 100, 1)
    scores = (normal(20, 100) + members).round(decimals=1)  # many are equal
    fpr, tpr, _ = roc_curve(members.flatten(), scores.flatten(), drop_intermediate=False)
    meant = [max(t for f, t in zip(fpr, tpr, strict=True) if f <= rate + 1e-12) for rate in RATES.tolist()]
    assert true_positive_rates(scores.flatten(), members.flatten(), RATES).tolist() == pytest.approx(meant)
    by_row = true_positive_rates(scores, members, RATES)
    weights = members.sum(1).double() / members.sum()
    torch.testing.assert_close((by_row * weights[:, None]).sum(0), torch.tensor(meant, dtype=torch.float64))


def test_where_membership_leaves_no_trace_no_attack_is_better_than_chance() -> None:
    members = memberships(64, 500, 2)
    phi = normal(64, 500) + 3 * normal(500, seed=1)  # examples differ, members do not
    found = true_positive_rates(lira_scores(phi, members).flatten(), members.flatten(), RATES)
    assert found.tolist() == pytest.approx(RATES.tolist(), abs=0.02)
    seen = true_positive_rates(lira_scores(phi + 3 * members, members).flatten(), members.flatten(), RATES)
    plain = true_positive_rates((phi + 3 * members).flatten(), members.flatten(), RATES)
    assert seen[2] > 0.5 > 0.2 > plain[2]  # the loss alone does not know which examples are easy


def test_bad_input_is_one_line() -> None:
    members = memberships(8, 4, 0)
    phi = normal(8, 4)
    lonely = members.clone()
    lonely[:, 2] = False
    calls = [
        (lambda: memberships(7, 4, 0), "models is 7; it must be an even number"),
        (lambda: lira_scores(phi[:, :3], members), "the same shape"),
        (lambda: lira_scores(phi, members.float()), "members as bool"),
        (lambda: lira_scores(phi / 0, members), "phi holds nan or inf"),
        (lambda: lira_scores(phi, lonely), "example 2 is in 0 models; LiRA needs 3 or more on either side"),
        (lambda: true_positive_rates(phi, members | True, RATES), "there is no non-member"),
        (lambda: true_positive_rates(phi, members, torch.tensor([1.5])), "false_positive_rates is 1.5"),
    ]
    for call, words in calls:
        with pytest.raises(ValueError) as caught:
            call()
        assert words in str(caught.value) and "\n" not in str(caught.value)
