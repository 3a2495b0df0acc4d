"""An LSTM whose dropout masks are given, and held over time (Gal and Ghahramani 2016, "tied")."""

from typing import Any, NamedTuple

import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unirl_repro.nn.mlp import Linear
from unirl_repro.nn.products import is_worthwhile, product


class LSTMState(NamedTuple):
    """Output and cell of an LSTM after a step: [.., H] each."""

    output: Tensor
    cell: Tensor


class MaskedLSTM(nn.Module):
    """One layer; a mask on its input and a mask on its recurrent input, shared by all four gates.

    Parameters
    ----------
    inputs, hidden : int
        Sizes.
    rng : Generator
        Where the initial weights come from.
    """

    def __init__(self, inputs: int, hidden: int, rng: Generator):
        super().__init__()
        self.hidden = hidden
        self.from_input = Linear(inputs, 4 * hidden, rng)
        self.from_output = nn.Parameter(Linear(hidden, 4 * hidden, rng).weight.data)  # [H, 4H]

    def initial(self, rows: int, like: Tensor) -> LSTMState:
        """The state before the first step: zero."""
        return LSTMState(like.new_zeros(rows, self.hidden), like.new_zeros(rows, self.hidden))

    def step(
        self, x: Tensor, state: LSTMState, input_mask: Tensor, output_mask: Tensor
    ) -> LSTMState:
        """One step: inputs [B, I], masks [B, I] and [B, H]."""
        gates = self.from_input(x * input_mask) + _product(
            state.output * output_mask, self.from_output
        )
        return LSTMState(*_cell(gates, state.cell))

    def forward(self, x: Tensor, input_mask: Tensor, output_mask: Tensor) -> LSTMState:
        """Whole sequences from the zero state: [T, B, I] -> [T, B, H] each.

        Gradients reach the weights and the inputs through `output`; `cell` has none.
        """
        steps, rows, _ = x.shape
        gates = self.from_input((x * input_mask).flatten(0, 1)).unflatten(0, (steps, rows))
        return LSTMState(*_Recurrence.apply(gates, self.from_output, output_mask))


def _product(x: Tensor, y: Tensor) -> Tensor:
    return product(x, y) if is_worthwhile(x, y) else x @ y


def _cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Output and cell from the four gates' inputs [.., 4H], in the order of `torch.nn.LSTM`."""
    write, keep, candidate, read = gates.chunk(4, dim=-1)
    cell = keep.sigmoid() * cell + write.sigmoid() * candidate.tanh()
    return read.sigmoid() * cell.tanh(), cell


class _Recurrence(torch.autograd.Function):
    """The part of an LSTM that cannot be done for all steps at once.

    Written out because autograd would add up the weight's gradient step by step, a matrix as large
    as the weight each time; here it is one product over all steps and rows.
    """

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, weight: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:  # [T, B, 4H], [H, 4H], [B, H] -> [T, B, H] each
        steps, rows, width = gates.shape
        active = torch.empty_like(gates)
        outputs, cells = (gates.new_empty(steps, rows, width // 4) for _ in range(2))
        output = cell = gates.new_zeros(rows, width // 4)
        for t in range(steps):
            _activate(gates[t] + _product(output * mask, weight), out=active[t])
            write, keep, candidate, read = active[t].chunk(4, dim=-1)
            cell = torch.addcmul(keep * cell, write, candidate, out=cells[t])
            output = torch.mul(read, cell.tanh(), out=outputs[t])
        ctx.save_for_backward(active, outputs, cells, weight, mask)
        ctx.mark_non_differentiable(cells)
        return outputs, cells

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_outputs: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None, None]:
        active, outputs, cells, weight, mask = ctx.saved_tensors
        steps, rows, hidden = outputs.shape
        slopes = _slopes(active)  # of each gate's activation
        write, keep, candidate, read = active.chunk(4, dim=-1)
        squashed = cells.tanh()
        of_gates, transposed = torch.empty_like(active), weight.t()
        of_output = of_cell = outputs.new_zeros(rows, hidden)
        zero_cell = torch.zeros_like(of_cell)
        through = read * (1 - squashed.square())  # from an output to its cell
        for t in reversed(range(steps)):
            of_output = of_output + of_outputs[t]
            of_cell = torch.addcmul(of_cell, of_output, through[t])
            before = cells[t - 1] if t else zero_cell
            parts = of_gates[t].view(rows, 4, hidden)
            torch.mul(of_cell, candidate[t], out=parts[:, 0])
            torch.mul(of_cell, before, out=parts[:, 1])
            torch.mul(of_cell, write[t], out=parts[:, 2])
            torch.mul(of_output, squashed[t], out=parts[:, 3])
            of_gates[t] *= slopes[t]
            of_cell = of_cell * keep[t]
            if t:
                of_output = _product(of_gates[t], transposed) * mask
        of_weight = None
        if ctx.needs_input_grad[1]:
            earlier = (outputs[:-1] * mask).flatten(0, 1)
            of_weight = _product(earlier.t(), of_gates[1:].flatten(0, 1))
        return of_gates, of_weight, None


def _activate(gates: Tensor, out: Tensor) -> None:
    """Sigmoids of the three gates and the tanh of the candidate, in place of their inputs."""
    hidden = gates.shape[-1] // 4
    torch.sigmoid(gates, out=out)
    torch.tanh(gates[:, 2 * hidden : 3 * hidden], out=out[:, 2 * hidden : 3 * hidden])


def _slopes(active: Tensor) -> Tensor:
    """Derivatives of the activations, from their values."""
    hidden = active.shape[-1] // 4
    slopes = active * (1 - active)
    candidate = slice(2 * hidden, 3 * hidden)
    slopes[..., candidate] = 1 - active[..., candidate].square()
    return slopes
