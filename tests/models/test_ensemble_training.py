"""Training of the ensemble: what it finds, when it stops, what it goes back to, which rows it sees."""

import io
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unirl_repro.models import ensemble_training
from unirl_repro.models.ensemble_training import (
    HOLDOUT_SHARE,
    MOST_HELD_OUT,
    PATIENCE,
    Best,
    EnsembleTrainer,
    rows_of_epochs,
)
from unirl_repro.models.gaussian_ensemble import GaussianEnsemble
from unirl_repro.rng import Keys, normal

OBS, ACTION, MEMBERS, BATCH = 2, 1, 3, 32
INPUTS, OUTPUTS = OBS + ACTION, 1 + OBS
STDS = torch.tensor([0.4, 0.3, 0.2])


def trainer(*, compiled: bool = False, seed: int = 0, rate: float = 1e-3) -> EnsembleTrainer:
    model = GaussianEnsemble(
        OBS,
        ACTION,
        (24, 24),
        Keys(seed, "init")("model"),
        weight_decay=(1e-5,) * 3,
        members=MEMBERS,
    )
    return EnsembleTrainer(model, rate, BATCH, compiled=compiled)


def linear(inputs: Tensor) -> Tensor:
    matrix = torch.tensor([[1.0, -0.5, 0.0], [0.2, 0.3, -1.0], [0.0, 0.5, 0.7]])
    return inputs @ matrix.T + torch.tensor([0.5, 0.0, -0.2])


def linear_data(count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Of a linear system whose noise each output has another size of."""
    rng = Keys(seed, "test")("data")
    inputs = normal(rng, count, INPUTS, like=torch.zeros(1))
    return inputs, linear(inputs) + STDS * normal(rng, count, OUTPUTS, like=inputs)


def rng(seed: int = 0) -> np.random.Generator:
    return Keys(seed, "after_step")("model")


def weights(trainer: EnsembleTrainer) -> list[Tensor]:
    return [v.detach().clone() for v in trainer.model.layers.parameters()]


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# --- what it learns


def test_it_finds_a_linear_systems_mean_and_the_size_of_each_outputs_noise() -> None:
    made = trainer(rate=3e-3)
    fit = made.fit(*linear_data(3_000), rng())
    inputs, _ = linear_data(400, seed=2)
    with torch.no_grad():
        said = made.model(inputs)
    gaps = (said.mean - linear(inputs)).square().mean(1).sqrt()  # [E, 1 + O]
    assert (gaps < 0.5 * STDS + 0.03).all()
    ratios = said.std.mean(1) / STDS
    assert (ratios > 0.75).all()
    assert (ratios < 1.4).all()
    assert (fit.errors > 0.8 * STDS.square().mean()).all()
    assert (fit.errors < 1.3 * STDS.square().mean()).all()


def test_training_goes_on_from_the_weights_and_moments_before() -> None:
    made = trainer()
    first = made.fit(*linear_data(500), rng())
    steps = int(made.adam.steps)
    assert steps == first.updates
    again = made.fit(*linear_data(500), rng(1))
    assert int(made.adam.steps) == steps + again.updates
    assert again.epochs < first.epochs
    inputs, targets = linear_data(500, seed=3)
    fresh = trainer()
    fresh.fit(*linear_data(500), rng(1))
    assert (made.errors(inputs, targets) < 1.1 * fresh.errors(inputs, targets)).all()


def test_fit_counts_its_epochs_and_updates() -> None:
    made, seen = trainer(), []
    update = made.update

    def watched(inputs: Tensor, targets: Tensor) -> None:
        seen.append((tuple(inputs.shape), tuple(targets.shape)))
        update(inputs, targets)

    made.update = watched  # type: ignore[method-assign]
    fit = made.fit(*linear_data(100), rng())  # 80 rows to learn from: 32, 32 and 16
    assert fit.updates == len(seen) == 3 * fit.epochs
    sizes = [BATCH, BATCH, 16] * fit.epochs
    assert seen == [((MEMBERS, n, INPUTS), (MEMBERS, n, OUTPUTS)) for n in sizes]


# --- which rows are held out, and which are seen


def watched_rows(made: EnsembleTrainer) -> list[Tensor]:
    """Of each update, the numbers of the rows, which stand in the first entry of the inputs."""
    seen: list[Tensor] = []

    def watched(inputs: Tensor, targets: Tensor) -> None:
        assert torch.equal(inputs[..., 0], targets[..., 0])  # rows stay together
        seen.append(inputs[..., 0].to(torch.int64))

    made.update = watched  # type: ignore[method-assign]
    return seen


def numbered(count: int) -> tuple[Tensor, Tensor]:
    numbers = torch.arange(count, dtype=torch.float32)
    return numbers[:, None].repeat(1, INPUTS), numbers[:, None].repeat(1, OUTPUTS)


@pytest.mark.parametrize("count", [7, 100, 1_003])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_fifth_is_held_out_and_never_seen_by_any_member(count: int, weighted: bool) -> None:
    made = trainer()
    seen = watched_rows(made)
    made.fit(*numbered(count), rng(), np.ones(count) if weighted else None)
    inputs, targets = made.held_out
    assert torch.equal(inputs[:, 0], targets[:, 0])
    aside = {int(n) for n in inputs[:, 0]}
    used = {int(n) for rows in seen for n in rows.flatten()}
    assert len(aside) == len(inputs) == int(0.2 * count)
    assert not aside & used
    assert used <= set(range(count))
    assert len(used) > 0.8 * (count - len(aside))


def test_no_more_than_5000_rows_are_held_out() -> None:
    made = trainer()
    watched_rows(made)
    made.fit(*numbered(26_000), rng())
    assert len(made.held_out[0]) == MOST_HELD_OUT == 5_000


def test_each_training_holds_out_other_rows() -> None:
    made, aside = trainer(), []
    watched_rows(made)
    for step in range(2):
        made.fit(*numbered(100), rng(step))
        aside.append(set(made.held_out[0][:, 0].tolist()))
    assert aside[0] != aside[1]
    assert aside[0] != set(range(20))


def test_the_normaliser_knows_only_what_members_may_see() -> None:
    made, (inputs, targets) = trainer(), linear_data(300)
    made.fit(inputs, targets, rng())
    aside = {tuple(row) for row in made.held_out[0].tolist()}
    rest = np.array([row for row in inputs.tolist() if tuple(row) not in aside])
    assert len(rest) == 240
    np.testing.assert_allclose(made.model.input_mean, rest.mean(0), atol=1e-6)
    np.testing.assert_allclose(made.model.input_std, rest.std(0), rtol=1e-5)


def test_a_members_bootstrap_sample_stays_through_the_epochs_and_its_order_does_not() -> None:
    epochs = list(islice(rows_of_epochs(MEMBERS, 50, rng(), None), 4))
    for rows in epochs:
        assert rows.shape == (MEMBERS, 50)
        assert (np.sort(rows, 1) == np.sort(epochs[0], 1)).all()
        assert 20 < len(np.unique(rows[0])) < 45  # with replacement: about 63% of the rows
    assert not any((a == b).all(1).any() for a, b in pairwise(epochs))
    assert not (np.sort(epochs[0][0]) == np.sort(epochs[0][1])).all()


class Alike:
    """Draws the same bootstrap sample for each member."""

    def __init__(self) -> None:
        self.permuted, self.permutation = rng().permuted, rng().permutation

    def integers(self, count: int, size: tuple[int, int]) -> np.ndarray:
        return np.tile(np.arange(count), (size[0], 1))


def test_each_member_has_an_order_of_its_own() -> None:
    alike: Any = Alike()
    _, second, third = islice(rows_of_epochs(MEMBERS, 50, alike, None), 3)
    for rows in (second, third):
        assert (np.sort(rows, 1) == np.arange(50)).all()
        assert len(np.unique(rows, axis=0)) == MEMBERS


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1e-6, 0.5, 3.0]), min_size=1, max_size=30).filter(any),
    st.integers(0, 99),
)
def test_rows_of_weight_zero_are_never_seen(given_weights: list[float], seed: int) -> None:
    chosen = np.array(given_weights)
    rows = np.array(list(islice(rows_of_epochs(4, len(chosen), rng(seed), chosen), 3)))
    assert rows.shape == (3, 4, len(chosen))
    assert (chosen[rows] > 0).all()


class Edge:
    """Draws as far up and down as a generator's can be."""

    def __init__(self, draw: float):
        self.draw = draw

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, self.draw)


@pytest.mark.parametrize(("draw", "row"), [(0.0, 1), (1 - 2**-53, 3)])
def test_nor_are_they_by_rounding_at_the_edges(draw: float, row: int) -> None:
    """0.1 + 0.2 + 0.3 is no exact sum, and the rows around have no weight."""
    chosen = np.array([0.0, 0.1, 0.2, 0.3, 0.0, 0.0])
    edge: Any = Edge(draw)
    assert (next(rows_of_epochs(2, 6, edge, chosen)) == row).all()


def test_weighted_rows_come_as_often_as_they_weigh_and_anew_in_each_epoch() -> None:
    chosen = np.array([0.0, 1.0, 2.0, 5.0, 0.0, 12.0] * 50)
    epochs = list(islice(rows_of_epochs(2, 300, rng(), chosen), 100))
    assert not (np.sort(epochs[0], 1) == np.sort(epochs[1], 1)).all()
    counts = np.bincount(np.array(epochs).flatten() % 6, minlength=6) / 60_000
    np.testing.assert_allclose(counts, np.array([0, 1, 2, 5, 0, 12]) / 20, atol=0.015)


def test_weights_stay_with_their_rows_when_some_are_held_out() -> None:
    made = trainer()
    seen = watched_rows(made)
    chosen = (np.arange(200) % 3 == 0) * 1.0
    made.fit(*numbered(200), rng(), chosen)
    used = {int(n) for rows in seen for n in rows.flatten()}
    assert all(number % 3 == 0 for number in used)
    assert len(made.held_out[0]) == 40
    assert any(number % 3 for number in made.held_out[0][:, 0].tolist())


# --- when it stops, and what it goes back to


def scripted(made: EnsembleTrainer, table: list[list[float]]) -> list[list[Tensor]]:
    """Held-out errors are those of the table, an epoch a row; the weights after each epoch."""
    after: list[list[Tensor]] = []

    def errors(inputs: Tensor, targets: Tensor) -> Tensor:
        after.append(weights(made))
        return torch.tensor(table[min(len(after), len(table)) - 1])

    made.errors = errors  # type: ignore[method-assign]
    return after


def test_it_stops_after_six_epochs_in_which_no_member_gained_a_hundredth() -> None:
    assert PATIENCE == 5
    made = trainer()
    scripted(made, [[1.0, 1.0, 1.0], [0.995, 1.0, 2.0], [0.992, 1.0, 1.0], [0.5, 1.0, 1.0]])
    assert made.fit(*linear_data(50), rng()).epochs == 4 + 6


def test_small_gains_add_up_against_the_best_that_counted() -> None:
    made = trainer()
    table = [[1.0 - 0.004 * epoch, 1.0, 1.0] for epoch in range(9)]  # counts at 0, 3, 6
    scripted(made, [*table, [0.972, 1.0, 1.0]])
    assert made.fit(*linear_data(50), rng()).epochs == 7 + 6


def test_each_member_goes_back_to_its_own_best_epoch() -> None:
    made = trainer()
    table = [[5.0, 3.0, 5.0], [4.0, 3.0, 5.0], [4.5, 2.0, 4.99], [4.0, 2.5, 9.0]]
    after = scripted(made, table)
    limits = made.model.max_log_var.detach().clone()
    fit = made.fit(*linear_data(50), rng())
    assert fit.epochs == 3 + 6
    for member, best in enumerate([1, 2, 0]):
        for now, then in zip(weights(made), after[best], strict=True):
            assert torch.equal(now[member], then[member])
        last = zip(weights(made), after[fit.epochs - 1], strict=True)  # a mutant would keep these
        assert not all(torch.equal(now[member], then[member]) for now, then in last)
    assert not torch.equal(made.model.max_log_var, limits)


def test_errors_that_are_reported_are_those_of_the_weights_that_are_kept() -> None:
    made = trainer(rate=0.1)  # so large that members get worse again
    fit = made.fit(*linear_data(100), rng())
    assert torch.equal(fit.errors, made.errors(*made.held_out))
    inputs, targets = made.held_out
    with torch.no_grad():
        means = made.model(inputs).mean
    for member in range(MEMBERS):
        expected = ((means[member] - targets) ** 2).mean()
        torch.testing.assert_close(fit.errors[member], expected)


def test_without_going_back_the_errors_would_be_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = trainer(rate=0.1).fit(*linear_data(100), rng())
    monkeypatch.setattr(Best, "restore", lambda self: None)
    last = trainer(rate=0.1).fit(*linear_data(100), rng())
    assert kept.epochs == last.epochs
    assert (kept.errors < 0.99 * last.errors).any()
    assert (kept.errors <= 1.0101 * last.errors).all()


def test_the_weights_before_a_training_are_never_kept() -> None:
    """The published code starts from an error of 1e10, whatever the old weights'."""
    made = trainer()
    before = weights(made)
    scripted(made, [[3.0, 3.0, 3.0], [4.0, 4.0, 4.0]])
    made.fit(*linear_data(50), rng())
    assert not any(torch.equal(a, b) for a, b in zip(before, weights(made), strict=True))


# --- bytes


@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_generator_gives_the_same_bytes_and_another_does_not(weighted: bool) -> None:
    made, data = [trainer() for _ in range(3)], linear_data(150)
    chosen = np.linspace(0, 1, 150) if weighted else None
    for one, seed in zip(made, [0, 0, 1], strict=True):
        torch.randn(3)  # torch's own generator is nobody's source
        one.fit(*data, rng(seed), chosen)
    assert equal(weights(made[0]), weights(made[1]))
    assert not equal(weights(made[0]), weights(made[2]))


def test_compiled_and_eager_updates_agree() -> None:
    data, made = linear_data(2 * BATCH), [trainer(), trainer(compiled=True)]
    start = weights(made[0])
    inputs, targets = (x.reshape(2, BATCH, -1) for x in data)
    for _ in range(5):
        for one in made:
            for x, y in zip(inputs, targets, strict=True):
                one.update(x.expand(MEMBERS, -1, -1), y.expand(MEMBERS, -1, -1))
            one.update(
                inputs[:1, :7].expand(MEMBERS, -1, -1), targets[:1, :7].expand(MEMBERS, -1, -1)
            )
    pairs = zip(weights(made[0]), weights(made[1]), start, strict=True)
    for eager, compiled, before in pairs:
        torch.testing.assert_close(eager, compiled, rtol=1e-3, atol=1e-5)
        assert (eager - before).abs().max() > 1e-3


def test_a_restored_trainer_goes_on_bit_for_bit() -> None:
    made, restored, data = trainer(), trainer(), linear_data(120)
    made.fit(*data, rng())
    restored.fit(*data, rng(5))
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    fits = [one.fit(*data, rng(1)) for one in (made, restored)]
    assert equal(weights(made), weights(restored))
    assert torch.equal(fits[0].errors, fits[1].errors)
    assert torch.equal(made.model.min_log_var, restored.model.min_log_var)
    assert torch.equal(made.model.input_std, restored.model.input_std)


def test_constants_are_the_published_ones() -> None:
    assert (HOLDOUT_SHARE, ensemble_training.IMPROVEMENT) == (0.2, 0.01)
