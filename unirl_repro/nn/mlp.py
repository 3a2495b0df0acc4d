"""Linear layers and multi-layer perceptrons, single or stacked into an ensemble."""

from collections.abc import Callable, Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from unirl_repro.nn.products import affine
from unirl_repro.rng import uniform

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {"relu": torch.relu, "tanh": torch.tanh}


class Linear(nn.Module):
    """y = x W + b, for one network or for several at once.

    Initial weights follow torch's default for `torch.nn.Linear`: uniform in ±1/sqrt(inputs).

    Parameters
    ----------
    inputs, outputs : int
        Sizes.
    rng : Generator
        Where the initial weights come from.
    members : int, optional
        Networks that are evaluated side by side, [E, B, inputs] -> [E, B, outputs]. None: a single
        network, for inputs with any leading dimensions.
    """

    def __init__(self, inputs: int, outputs: int, rng: Generator, members: int | None = None):
        super().__init__()
        bound, like = 1 / sqrt(inputs), torch.empty(0)
        stack = () if members is None else (members,)
        row = (outputs,) if members is None else (members, 1, outputs)
        weight = uniform(rng, *stack, inputs, outputs, low=-bound, high=bound, like=like)
        self.weight = nn.Parameter(weight)  # [E, I, O] or [I, O]
        self.bias = nn.Parameter(uniform(rng, *row, low=-bound, high=bound, like=like))

    def forward(self, x: Tensor) -> Tensor:
        return affine(x, self.weight, self.bias)


class LayerNorm(nn.Module):
    """Normalises each row of [E, B, H], or of [B, H], with a scale and shift for each network."""

    def __init__(self, features: int, members: int | None = None):
        super().__init__()
        shape = (features,) if members is None else (members, 1, features)
        self.scale = nn.Parameter(torch.ones(shape))
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        rows = F.layer_norm(x, x.shape[-1:])
        return torch.addcmul(self.shift, rows, self.scale)


class MLP(nn.Module):
    """Linear, [LayerNorm,] activation for each hidden layer, then a linear layer.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden units of each layer, outputs.
    rng : Generator
        Where the initial weights come from.
    activation : str, default "relu"
        A key of `ACTIVATIONS`.
    layer_norm : bool, default False
        Normalise before each activation.
    members : int, optional
        Networks stacked into an ensemble, as in `Linear`.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        rng: Generator,
        *,
        activation: str = "relu",
        layer_norm: bool = False,
        members: int | None = None,
    ):
        super().__init__()
        *hidden, outputs = sizes[1:]
        layers = [Linear(i, o, rng, members) for i, o in zip(sizes, hidden, strict=False)]
        norms = [LayerNorm(size, members) for size in hidden] if layer_norm else []
        self.layers, self.norms = nn.ModuleList(layers), nn.ModuleList(norms)
        self.head = Linear(sizes[-2], outputs, rng, members)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if self.norms:
                x = self.norms[i](x)
            x = self.activation(x)
        return self.head(x)
