"""The LSTM is torch's where all masks are ones, and Gal and Ghahramani's "tied" one elsewhere."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unirl_repro.nn import lstm
from unirl_repro.nn.lstm import LSTMState, MaskedLSTM

STEPS, ROWS, INPUTS, HIDDEN = 7, 3, 4, 5
DOUBLE = torch.float64


def made(dtype: torch.dtype = DOUBLE) -> MaskedLSTM:
    return MaskedLSTM(INPUTS, HIDDEN, np.random.default_rng(0)).to(dtype)


def torchs(ours: MaskedLSTM) -> nn.LSTM:
    """torch's LSTM with the same weights; its second bias is zero."""
    theirs = nn.LSTM(INPUTS, HIDDEN, dtype=DOUBLE)
    for name, value in (
        ("weight_ih_l0", ours.from_input.weight.t()),
        ("weight_hh_l0", ours.from_output.t()),
        ("bias_ih_l0", ours.from_input.bias),
        ("bias_hh_l0", torch.zeros(4 * HIDDEN)),
    ):
        getattr(theirs, name).data.copy_(value)
    return theirs


def by_steps(ours: MaskedLSTM, x: Tensor, masks: tuple[Tensor, Tensor]) -> Tensor:
    """Outputs of one step after the other."""
    state, outputs = ours.initial(x.shape[1], x), []
    for row in x:
        state = ours.step(row, state, *masks)
        outputs.append(state.output)
    return torch.stack(outputs)


def drawn(dtype: torch.dtype = DOUBLE) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Inputs, and masks in which each row lacks other units."""
    torch.manual_seed(0)
    masks = (torch.rand(ROWS, INPUTS) > 0.4) / 0.6, (torch.rand(ROWS, HIDDEN) > 0.4) / 0.6
    x = torch.randn(STEPS, ROWS, INPUTS, dtype=dtype)
    return x, (masks[0].to(dtype), masks[1].to(dtype))


@pytest.fixture(params=[1, 3, 1000], ids="blocks of {} steps".format)
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many steps are multiplied at once: 3 leaves a last block of one step."""
    monkeypatch.setattr(lstm, "BLOCK", request.param * ROWS * 4 * HIDDEN)


@pytest.mark.usefixtures("block")
def test_with_all_units_on_it_is_torchs() -> None:
    ours, (x, _) = made(), drawn()
    ones = torch.ones(ROWS, INPUTS, dtype=DOUBLE), torch.ones(ROWS, HIDDEN, dtype=DOUBLE)
    theirs = torchs(ours)
    expected, (_, last_cell) = theirs(x)
    after = ours(x, *ones)
    assert torch.allclose(after.output, expected, rtol=1e-10)
    assert torch.allclose(after.cell[-1], last_cell[0], rtol=1e-10)
    direction = torch.randn_like(expected)
    got = torch.autograd.grad(after.output, list(ours.parameters()), direction)
    names = ("weight_hh_l0", "weight_ih_l0", "bias_ih_l0")
    want = torch.autograd.grad(expected, [getattr(theirs, name) for name in names], direction)
    shapes = {name: g for (name, _), g in zip(ours.named_parameters(), got, strict=True)}
    ordered = (
        shapes["from_output"].t(),
        shapes["from_input.weight"].t(),
        shapes["from_input.bias"],
    )
    for a, b in zip(ordered, want, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def test_masks_are_those_of_the_inputs_and_recurrent_inputs_at_each_step() -> None:
    ours, (x, (on_input, on_output)) = made(), drawn()
    cell = nn.LSTMCell(INPUTS, HIDDEN, dtype=DOUBLE)
    for (_, to), (_, value) in zip(
        cell.named_parameters(), torchs(ours).named_parameters(), strict=True
    ):
        to.data.copy_(value)
    output, memory = torch.zeros(2, ROWS, HIDDEN, dtype=DOUBLE)
    after = ours(x, on_input, on_output)
    for t in range(STEPS):
        output, memory = cell(x[t] * on_input, (output * on_output, memory))
        assert torch.allclose(after.output[t], output, rtol=1e-10)
        assert torch.allclose(after.cell[t], memory, rtol=1e-10)


@pytest.mark.usefixtures("block")
def test_a_sequence_is_its_steps_and_so_are_its_gradients() -> None:
    ours, (x, masks) = made(), drawn()
    leaves = [x.requires_grad_(), *ours.parameters()]
    whole, steps = ours(x, *masks).output, by_steps(ours, x, masks)
    direction = torch.randn_like(whole)
    assert torch.allclose(whole, steps, rtol=1e-10)
    got = torch.autograd.grad(whole, leaves, direction)
    want = torch.autograd.grad(steps, leaves, direction)
    for a, b in zip(got, want, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("block")
def test_gradients_of_a_sequence_are_those_of_finite_differences() -> None:
    ours, (x, masks) = made(), drawn()
    x = x[:4].requires_grad_()

    def outputs(x: Tensor, *_: Tensor) -> Tensor:
        return ours(x, *masks).output

    assert torch.autograd.gradcheck(outputs, (x, *ours.parameters()))


def test_gradients_of_a_step_are_those_of_finite_differences() -> None:
    ours, (x, masks) = made(), drawn()
    before = [torch.randn(ROWS, HIDDEN, dtype=DOUBLE, requires_grad=True) for _ in range(2)]

    def step(x: Tensor, output: Tensor, cell: Tensor, *_: Tensor) -> LSTMState:
        return ours.step(x, LSTMState(output, cell), *masks)

    assert torch.autograd.gradcheck(step, (x[0].requires_grad_(), *before, *ours.parameters()))


def test_a_row_depends_on_no_other_row() -> None:
    ours, (x, masks) = made(), drawn()
    alone = ours(x[:, 1:2], masks[0][1:2], masks[1][1:2]).output
    assert torch.allclose(ours(x, *masks).output[:, 1:2], alone, rtol=1e-12)


def test_gates_made_once_serve_all_steps() -> None:
    ours, (x, masks) = made(), drawn()
    gates, state = ours.gates(), ours.initial(ROWS, x)
    for row, expected in zip(x, by_steps(ours, x, masks), strict=True):
        state = ours.step(row, state, *masks, gates)
        assert torch.equal(state.output, expected)


def test_float32_with_packed_weights_agrees_with_float64() -> None:
    size, rows = 160, 100  # products that are worth packing
    ours = MaskedLSTM(size, size, np.random.default_rng(0))
    wide = MaskedLSTM(size, size, np.random.default_rng(0)).double()
    torch.manual_seed(0)
    x, masks = torch.randn(9, rows, size), ((torch.rand(2, rows, size) > 0.1) / 0.9).unbind()
    outputs = ours(x, *masks).output
    expected = wide(x.double(), *(mask.double() for mask in masks)).output
    assert torch.allclose(outputs.double(), expected, atol=1e-5)
    got = torch.autograd.grad(outputs.square().sum(), list(ours.parameters()))
    want = torch.autograd.grad(expected.square().sum(), list(wide.parameters()))
    for a, b in zip(got, want, strict=True):
        assert (a - b).norm() < 1e-5 * b.norm()


def test_weights_that_are_fixed_get_no_gradient_and_inputs_the_same() -> None:
    ours, (x, masks) = made(), drawn()
    x.requires_grad_()
    free = torch.autograd.grad(ours(x, *masks).output.sum(), x)
    ours.requires_grad_(False)
    assert torch.equal(*free, *torch.autograd.grad(ours(x, *masks).output.sum(), x))
