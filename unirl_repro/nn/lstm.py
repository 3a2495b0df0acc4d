"""An LSTM whose dropout masks are given, and held over time (Gal and Ghahramani 2016, "tied")."""

from typing import Any, NamedTuple

import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unirl_repro.nn.mlp import Linear
from unirl_repro.nn.products import is_worthwhile, product
from unirl_repro.nn.repeated import Packed, Repeated


class LSTMState(NamedTuple):
    """Output and cell of an LSTM after a step: [.., H] each."""

    output: Tensor
    cell: Tensor


class MaskedLSTM(nn.Module):
    """One layer; a mask on its input and one on its recurrent input, shared by all four gates.

    Sharing them is deviation U5.

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

    def gates(self) -> Repeated:
        """The layer before the gates, for many steps: [B, I + H] -> [B, 4H]."""
        return Repeated(torch.cat([self.from_input.weight, self.from_output]), self.from_input.bias)

    def step(
        self,
        x: Tensor,
        state: LSTMState,
        input_mask: Tensor,
        output_mask: Tensor,
        gates: Repeated | None = None,
    ) -> LSTMState:
        """One step: inputs [B, I], masks [B, I] and [B, H]; `gates` from before the first step."""
        layer = self.gates() if gates is None else gates
        both = torch.cat([x * input_mask, state.output * output_mask], -1)
        return LSTMState(*_Cell.apply(layer(both), state.cell))

    def forward(self, x: Tensor, input_mask: Tensor, output_mask: Tensor) -> LSTMState:
        """Whole sequences from the zero state: [T, B, I] -> [T, B, H] each.

        Gradients reach the weights and the inputs through `output`; `cell` has none.
        """
        layer, masks = self.from_input, (input_mask, output_mask)
        return LSTMState(*_Sequence.apply(x, layer.weight, layer.bias, self.from_output, *masks))


def _product(x: Tensor, y: Tensor) -> Tensor:
    return product(x, y) if is_worthwhile(x, y) else x @ y


def _tanh(x: Tensor) -> Tensor:
    """tanh as 2 sigmoid(2x) - 1: torch's own takes over ten times as long on a CPU."""
    return (x + x).sigmoid().mul(2).sub(1)


class _Cell(torch.autograd.Function):
    """Output and cell [B, H] from the gates' inputs [B, 4H] and the cell before."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        active, output, cell = gates.clone(), torch.empty_like(before), torch.empty_like(before)
        _advance(active, before, output, cell)
        ctx.save_for_backward(active, before, cell)
        return output, cell

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_output: Tensor, of_cell: Tensor) -> tuple[Tensor, Tensor]:
        active, before, cell = ctx.saved_tensors
        of_gates = torch.empty_like(active)
        return of_gates, _retreat(active, cell, before, of_output, of_cell, of_gates)


class _Sequence(torch.autograd.Function):
    """An LSTM along whole sequences, with its gradient written out.

    Autograd would add up the weights' gradients step by step, each time a matrix as large as the
    weight. Here products are over blocks of steps, as long as stays in the processor's cache:
    arrays of a whole batch's gates would cost more to allocate than to compute.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        from_input: Tensor,
        bias: Tensor,
        from_output: Tensor,
        *masks: Tensor,
    ) -> tuple[Tensor, Tensor]:  # [T, B, I], [I, 4H], [4H], [H, 4H], [B, I], [B, H] -> [T, B, H]
        steps, rows, _ = x.shape
        input_mask, output_mask = masks
        outputs, cells = (x.new_empty(steps, rows, len(from_output)) for _ in range(2))
        output = cell = torch.zeros_like(output_mask)
        from_inputs, from_outputs = Packed(from_input, bias), Packed(from_output)
        gates = []
        for block in _blocks(steps, rows, bias):
            inputs = (x[block] * input_mask).flatten(0, 1)
            active = from_inputs(inputs).view(-1, rows, len(bias))
            for t, now in zip(range(block.start, block.stop), active, strict=True):
                now.add_(from_outputs(output * output_mask))
                output, cell = _advance(now, cell, outputs[t], cells[t])
            gates.append(active)
        ctx.save_for_backward(x, outputs, cells, from_input, from_output, *masks, *gates)
        ctx.mark_non_differentiable(cells)
        return outputs, cells

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_outputs: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, outputs, cells, from_input, from_output, *more = ctx.saved_tensors
        (input_mask, output_mask), gates = more[:2], more[2:]
        into_inputs, into_outputs = Packed(from_input.t()), Packed(from_output.t())
        into_weights = ctx.needs_input_grad[1]
        of_x, of_bias = torch.empty_like(x), x.new_zeros(from_input.shape[1])
        of_input, of_output = torch.zeros_like(from_input), torch.zeros_like(from_output)
        of_next = of_cell = zero = torch.zeros_like(output_mask)
        blocks = _blocks(len(x), len(zero), of_bias)
        for block, active in zip(reversed(blocks), reversed(gates), strict=True):
            of_gates = torch.empty_like(active)
            before = _shifted(outputs, block, zero), _shifted(cells, block, zero)
            for i in reversed(range(len(active))):
                t = block.start + i
                of_now = torch.addcmul(of_outputs[t], of_next, output_mask)
                of_cell = _retreat(active[i], cells[t], before[1][i], of_now, of_cell, of_gates[i])
                of_next = into_outputs(of_gates[i])
            flat = of_gates.flatten(0, 1)
            of_x[block] = into_inputs(flat).view_as(of_x[block]) * input_mask
            if into_weights:
                of_input += _product((x[block] * input_mask).flatten(0, 1).t(), flat)
                of_output += _product((before[0] * output_mask).flatten(0, 1).t(), flat)
                of_bias += flat.sum(0)
        if not into_weights:
            return of_x, None, None, None, None, None
        return of_x, of_input, of_bias, of_output, None, None


BLOCK = 2**21  # numbers in a block's gates: 8 MiB


def _blocks(steps: int, rows: int, bias: Tensor) -> list[slice]:
    length = max(1, BLOCK // (rows * len(bias)))
    return [slice(start, min(start + length, steps)) for start in range(0, steps, length)]


def _shifted(states: Tensor, block: slice, zero: Tensor) -> Tensor:
    """States before each step of a block; before the first there is zero."""
    if block.start:
        return states[block.start - 1 : block.stop - 1]
    return torch.cat([zero[None], states[: block.stop - 1]])


def _advance(gates: Tensor, cell: Tensor, new_output: Tensor, new_cell: Tensor) -> list[Tensor]:
    """A step in place: the gates' inputs [B, 4H], in torch's order, become their activations."""
    write, keep, candidate, read = gates.chunk(4, dim=-1)
    candidate.mul_(2)
    gates.sigmoid_()
    candidate.mul_(2).sub_(1)
    torch.addcmul(keep * cell, write, candidate, out=new_cell)
    return [torch.mul(read, _tanh(new_cell), out=new_output), new_cell]


def _retreat(
    active: Tensor, cell: Tensor, before: Tensor, of_output: Tensor, of_cell: Tensor, out: Tensor
) -> Tensor:
    """Gradients of the gates' inputs into `out` [B, 4H]; returns that of the cell before."""
    write, keep, candidate, read = active.chunk(4, dim=-1)
    of_write, of_keep, of_candidate, of_read = out.chunk(4, dim=-1)
    squashed = _tanh(cell)
    through = of_output * read
    of_cell = of_cell + torch.addcmul(through, through * squashed, squashed, value=-1)
    of_before = of_cell * keep
    torch.mul(of_cell, candidate, out=of_write).mul_(torch.addcmul(write, write, write, value=-1))
    torch.mul(of_before, before, out=of_keep).mul_(1 - keep)
    torch.mul(of_cell, write, out=of_candidate).mul_(1 - candidate.square())
    torch.mul(through, squashed, out=of_read).mul_(1 - read)
    return of_before
