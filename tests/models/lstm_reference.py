"""The Bayesian LSTM once more, slowly: torch's own layers, a loop over time, masks as A.2.1 says."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from unirl_repro.models.bayesian_lstm import MIN_STD, BayesianLSTM, Masks
from unirl_repro.nn.mlp import Linear
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys

OBS, ACTION = 3, 2


def build(*, hidden: int = 6, dropout: float = 0.3, seed: int = 0) -> BayesianLSTM:
    """A model in float64 whose normalisers know data of different scales and offsets."""
    model = BayesianLSTM(OBS, ACTION, hidden, dropout, Keys(seed, "init")("model")).double()
    for layer in (model.first, model.second):
        layer.bias.data += 0.5  # of so few units none is to be dead
    model.observe(Batch(*(part[:, 0] for part in trajectories(steps=50, rows=1, seed=seed))))
    model.normalise()
    return model


def trajectories(*, steps: int, rows: int, seed: int = 0) -> Batch:
    """Random trajectories [T, B, ·] in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(steps, rows, *shape, generator=generator, dtype=torch.float64)

    obs = 2 + 3 * draw(OBS)
    next_obs = obs + torch.tensor([0.1, 1.0, 0.5]) * draw(OBS) - 0.2
    return Batch(obs, draw(ACTION).tanh(), 5 * draw() - 1, next_obs, torch.zeros(steps, rows))


def masks_for(model: BayesianLSTM, rows: int, seed: int = 0) -> Masks:
    return model.sample_masks(rows, Keys(seed, "test")("masks"))


def normals(*shape: int, rng: Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape))


def finite_differences(
    function: Callable[[], Tensor], weight: Tensor, step: float = 1e-6
) -> Tensor:
    """Central differences of a scalar function by each entry of a tensor."""
    flat, slopes = weight.data.view(-1), []
    with torch.no_grad():
        for i in range(len(flat)):
            value = flat[i].clone()
            flat[i] = value + step
            above = float(function())
            flat[i] = value - step
            slopes.append((above - float(function())) / (2 * step))
            flat[i] = value
    return torch.tensor(slopes, dtype=weight.dtype).view_as(weight)


class SlowModel:
    """The same weights in torch's layers: copies, with gradients of their own."""

    def __init__(self, model: BayesianLSTM):
        self.model = model
        self.input = _linear(model.input_layer)
        self.cell = nn.LSTMCell(model.hidden, model.hidden).double()
        self.cell.weight_ih.data = model.lstm.from_input.weight.detach().t().clone()
        self.cell.bias_ih.data = model.lstm.from_input.bias.detach().clone()
        self.cell.weight_hh.data = model.lstm.from_output.detach().t().clone()
        self.cell.bias_hh.data.zero_()
        self.first, self.second = _linear(model.first), _linear(model.second)
        self.heads = _linear(model.heads)

    def predict(self, obs: Tensor, action: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
        """Mean and std of normalised outputs: [T, B, O + 1] each."""
        inputs = self.model.inputs
        output = cell = torch.zeros_like(masks.lstm_output)
        means, stds = [], []
        for now, a in zip(obs, action, strict=True):
            x = self.input((torch.cat([now, a], 1) - inputs.mean) / inputs.std).relu()
            output, cell = self.cell(x * masks.lstm_input, (output * masks.lstm_output, cell))
            x = self.first(output * masks.first).relu()
            x = self.second(x * masks.second).relu()
            mean, raw = self.heads(x * masks.heads).chunk(2, 1)
            means.append(mean)
            stds.append(F.softplus(raw) + MIN_STD)
        return torch.stack(means), torch.stack(stds)

    def loss(self, episodes: Batch, masks: Masks, num_episodes: int, prior: float) -> Tensor:
        """A.2.1's loss with the likelihood's sign put right."""
        mean, std = self.predict(episodes.obs, episodes.action, masks)
        change = episodes.next_obs - episodes.obs
        targets = torch.cat([change, episodes.reward[..., None]], -1)
        targets = (targets - self.model.outputs.mean) / self.model.outputs.std
        fit = torch.distributions.Normal(mean, std).log_prob(targets).sum((0, 2)).mean()
        squares = torch.stack([p.square().sum() for p in self.parameters()]).sum()
        return prior / num_episodes * squares - fit

    def parameters(self) -> list[Tensor]:
        layers = (self.input, self.first, self.second, self.heads)
        own = [p for layer in layers for p in layer.parameters()]
        return [*own, self.cell.weight_ih, self.cell.bias_ih, self.cell.weight_hh]

    def gradients(self) -> dict[str, Tensor]:
        """Under our names and in our layout."""
        cell: Any = self.cell
        found: dict[str, Any] = {
            "lstm.from_input.weight": cell.weight_ih.grad.t(),
            "lstm.from_input.bias": cell.bias_ih.grad,
            "lstm.from_output": cell.weight_hh.grad.t(),
        }
        layers: dict[str, Any] = {
            "input_layer": self.input,
            "first": self.first,
            "second": self.second,
        }
        for name, layer in (layers | {"heads": self.heads}).items():
            found |= {f"{name}.weight": layer.weight.grad.t(), f"{name}.bias": layer.bias.grad}
        return found


def _linear(ours: Linear) -> nn.Linear:
    layer = nn.Linear(*ours.weight.shape).double()
    layer.weight.data = ours.weight.detach().t().clone()
    layer.bias.data = ours.bias.detach().clone()
    return layer
