"""Wasserstein distances against the matrix formula, optimal transport and slow loops over rows."""

from math import sqrt
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from unirl_repro.models.gaussian_ensemble import Prediction
from unirl_repro.models.wasserstein import (
    member_of,
    published_shift_and_bias,
    shift_and_bias,
    squared_w2,
)
from unirl_repro.rng import Keys, normal

MEMBERS, ROWS, OUTPUTS = 5, 8, 3


def prediction(*shape: int, seed: int = 0) -> Prediction:
    rng, like = Keys(seed, "test")("prediction"), torch.zeros((), dtype=torch.float64)
    return Prediction(normal(rng, *shape, like=like), normal(rng, *shape, like=like))


class Case(NamedTuple):
    """What `shift_and_bias` takes."""

    former: Prediction
    said: Prediction
    members: Tensor


def case(seed: int = 0, rows: int = ROWS) -> Case:
    members = Keys(seed, "test")("members").integers(MEMBERS, size=rows)
    said = prediction(MEMBERS, rows, OUTPUTS, seed=seed)
    return Case(prediction(rows, OUTPUTS, seed=seed + 100), said, torch.from_numpy(members))


def numbers(said: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations."""
    return said.mean.detach().numpy(), np.exp(0.5 * said.log_var.detach().numpy())


# --- the distance


def test_the_square_is_that_of_the_general_formula_for_gaussians() -> None:
    p, q = prediction(20, 4), prediction(20, 4, seed=1)
    (mean_p, std_p), (mean_q, std_q) = numbers(p), numbers(q)
    for row, square in enumerate(squared_w2(p, q)):
        a, b = np.diag(std_p[row] ** 2), np.diag(std_q[row] ** 2)
        root = sqrtm(b)
        covariances = np.trace(a + b - 2 * np.real(sqrtm(root @ a @ root)))
        expected = ((mean_p[row] - mean_q[row]) ** 2).sum() + covariances
        assert square.item() == pytest.approx(expected, rel=1e-6)


def test_it_is_what_moving_samples_of_one_to_samples_of_the_other_costs() -> None:
    p = Prediction(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.25]).log())
    q = Prediction(torch.tensor([1.5, 0.5]), torch.tensor([0.09, 2.25]).log())
    rng = Keys(0, "test")("samples")
    x, y = (m + s * rng.standard_normal((1_000, 2)) for m, s in (numbers(p), numbers(q)))
    costs = ((x[:, None] - y[None]) ** 2).sum(-1)
    moved = costs[linear_sum_assignment(costs)].mean()
    assert squared_w2(p, q).item() == pytest.approx(moved, rel=0.06)
    assert squared_w2(p, q).item() != pytest.approx(costs.mean(), rel=0.2)  # of another coupling


def test_it_is_symmetric_and_zero_only_between_equals() -> None:
    p, q = prediction(4, 6), prediction(4, 6, seed=1)
    assert torch.equal(squared_w2(p, q), squared_w2(q, p))
    assert torch.equal(squared_w2(p, p), torch.zeros(4, dtype=torch.float64))
    assert (squared_w2(p, Prediction(p.mean, q.log_var)) > 0).all()
    assert (squared_w2(p, Prediction(q.mean, p.log_var)) > 0).all()


def test_each_rows_member_is_found() -> None:
    made = case()
    chosen = member_of(made.said, made.members)
    for row, member in enumerate(made.members.tolist()):
        assert torch.equal(chosen.mean[row], made.said.mean[member, row])
        assert torch.equal(chosen.log_var[row], made.said.log_var[member, row])


# --- Eq. 3, row by row


def w2(mean_p: np.ndarray, std_p: np.ndarray, mean_q: np.ndarray, std_q: np.ndarray) -> float:
    return sqrt(((mean_p - mean_q) ** 2).sum() + ((std_p - std_q) ** 2).sum())


def slow_shift_and_bias(made: Case) -> tuple[list[float], list[float]]:
    (old_mean, old_std), (mean, std) = numbers(made.former), numbers(made.said)
    shifts, biases = [], []
    for i, k2 in enumerate(made.members.tolist()):
        shifts.append(w2(old_mean[i], old_std[i], mean[k2, i], std[k2, i]))
        others = [b for b in range(len(mean)) if b != k2]
        distances = [w2(mean[k2, i], std[k2, i], mean[b, i], std[b, i]) for b in others]
        biases.append(sum(distances) / len(others))
    return shifts, biases


@pytest.mark.parametrize("seed", range(4))
def test_shift_and_bias_equal_a_slow_loop_over_rows_and_members(seed: int) -> None:
    made = case(seed)
    shift, bias = shift_and_bias(*made)
    slow_shift, slow_bias = slow_shift_and_bias(made)
    np.testing.assert_allclose(shift, slow_shift, rtol=1e-10)
    np.testing.assert_allclose(bias, slow_bias, rtol=1e-10)
    assert abs(shift.mean() - bias.mean()) > 1e-3  # they are told apart


def of_leaves(made: Case) -> tuple[Case, list[Tensor]]:
    leaves = [x.clone().requires_grad_() for x in (*made.former, *made.said)]
    return Case(Prediction(*leaves[:2]), Prediction(*leaves[2:]), made.members), leaves


@pytest.mark.parametrize("function", [shift_and_bias, published_shift_and_bias])
def test_gradients_are_finite_where_members_coincide_and_where_nothing_shifted(function) -> None:
    made = case()
    said = Prediction(*(x.clone() for x in made.said))
    for part in said:
        part[1] = part[0]  # two members say the same
        part[:, 3] = part[0, 3]  # and all of them of one row
    made, leaves = of_leaves(Case(member_of(said, made.members), said, made.members))
    shift, bias = function(*made)
    gradients = torch.autograd.grad((shift + bias).mean(), leaves)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert shift.max() <= 1e-6
    assert gradients[2].abs().max() > 1e-3  # from the bias that is left


def test_the_gradient_of_shift_and_bias_is_that_of_finite_differences() -> None:
    made, leaves = of_leaves(case(rows=2))

    def total(*parts: Tensor) -> Tensor:
        case_of = Case(Prediction(*parts[:2]), Prediction(*parts[2:]), made.members)
        shift, bias = shift_and_bias(*case_of)
        return (shift + 2 * bias).sum()

    assert torch.autograd.gradcheck(total, tuple(leaves))


def test_a_member_is_not_compared_with_itself_and_the_rest_count_alike() -> None:
    """Member 0 lies at 0, member b at distance b: exact biases."""
    mean = torch.arange(4.0)[:, None, None].expand(4, 4, 1)
    said = Prediction(mean, torch.zeros(4, 4, 1))
    members = torch.arange(4)
    _, bias = shift_and_bias(member_of(said, members), said, members)
    assert bias.tolist() == pytest.approx([6 / 3, 4 / 3, 4 / 3, 6 / 3])


# --- as published


def slow_published(made: Case) -> tuple[float, float]:
    """Sums written out: of means over all rows, of standard deviations over the diagonal alone."""
    (old_mean, old_std), (mean, std) = numbers(made.former), numbers(made.said)
    rows, outputs = old_mean.shape
    chosen = made.members.tolist()
    total = 0.0
    for i in range(rows):
        for d in range(outputs):
            total += (old_mean[i, d] - mean[chosen[i], i, d]) ** 2
    for i in range(min(rows, outputs)):
        total += (old_std[i, i] - std[chosen[i], i, i]) ** 2
    shift, bias = sqrt(total) / rows, 0.0
    for b in range(len(mean)):
        total = 0.0
        for i in range(rows):
            for d in range(outputs):
                total += (mean[chosen[i], i, d] - mean[b, i, d]) ** 2
        for i in range(min(rows, outputs)):
            total += (std[chosen[i], i, i] - std[b, i, i]) ** 2
        bias += sqrt(total) / rows / (len(mean) - 1)
    return shift, bias


@pytest.mark.parametrize(("seed", "rows"), [(0, ROWS), (1, ROWS), (2, 2), (3, 3)])
def test_the_published_form_equals_its_sums_written_out(seed: int, rows: int) -> None:
    made = case(seed, rows)
    shift, bias = published_shift_and_bias(*made)
    np.testing.assert_allclose([shift, bias], slow_published(made), rtol=1e-9)


def test_the_published_form_is_smaller_by_about_the_root_of_the_rows() -> None:
    made = case(rows=1_024)
    for ours, published in zip(shift_and_bias(*made), published_shift_and_bias(*made), strict=True):
        assert published.item() == pytest.approx(ours.mean().item() / 32, rel=0.4)


def test_in_the_published_form_a_deviation_off_the_diagonal_counts_for_nothing() -> None:
    made = case()
    log_var = made.former.log_var.clone()
    log_var[5] += 3.0  # row 5 has no entry on the diagonal of 3 columns
    log_var[1, 2] += 3.0
    other = made._replace(former=Prediction(made.former.mean, log_var))
    assert published_shift_and_bias(*other)[0] == published_shift_and_bias(*made)[0]
    assert (shift_and_bias(*other)[0] != shift_and_bias(*made)[0]).tolist() == [
        row in (1, 5) for row in range(ROWS)
    ]
