"""What the parity tests share: one agent, the same weights elsewhere, the same batches and noise."""

from collections.abc import Iterable, Sequence
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from unirl_repro.agents.sac import SAC
from unirl_repro.hyperparameters import SACParameters
from unirl_repro.nn.mlp import MLP
from unirl_repro.replay import Batch
from unirl_repro.rng import Keys

OBS, ACTION, BATCH, UPDATES = 5, 3, 32, 3
CPU = torch.device("cpu")


def build(parameters: SACParameters, *, compiled: bool = False, device=CPU) -> SAC:
    keys = Keys(7, "init")
    sizes = {"horizon": 10, "keys": keys, "device": device, "compiled": compiled}
    return SAC(parameters, OBS, ACTION, **sizes)


def batches(device=CPU) -> list[tuple[Batch, Tensor]]:
    """Three batches, a quarter of their rows terminated, and noise for both policies."""
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    made = []
    for _ in range(UPDATES):
        obs, next_obs, reward = draw(BATCH, OBS), draw(BATCH, OBS), draw(BATCH)
        terminated = (torch.arange(BATCH, device=device) % 4 == 0).to(obs.dtype)
        batch = Batch(obs, draw(BATCH, ACTION).tanh(), reward, next_obs, terminated)
        made.append((batch, draw(2, BATCH, ACTION)))
    return made


def named(batch: Batch) -> SimpleNamespace:
    """A batch for code that knows nothing of ours."""
    return SimpleNamespace(**batch._asdict())


@torch.no_grad()
def copy_mlp(mlp: MLP, linears: Sequence[nn.Linear], member: int | None = None) -> None:
    """The weights of one network into torch's own layers, hidden ones and output."""
    for ours, theirs in zip([*mlp.layers, mlp.head], linears, strict=True):
        weight, bias = ours.weight, ours.bias
        if member is not None:
            weight, bias = weight[member], bias[member, 0]
        theirs.weight.copy_(weight.t())
        theirs.bias.copy_(bias)


@torch.no_grad()
def copy_actor(mlp: MLP, trunk: Sequence[nn.Linear], mean: nn.Linear, raw_std: nn.Linear) -> None:
    joint = nn.Linear(mean.in_features, 2 * mean.out_features)
    copy_mlp(mlp, [*trunk, joint])
    for layer, rows in ((mean, slice(ACTION)), (raw_std, slice(ACTION, None))):
        layer.weight.copy_(joint.weight[rows])
        layer.bias.copy_(joint.bias[rows])


def linears(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def learnt(agent: SAC) -> list[Tensor]:
    """All that the updates changed: one flat vector a network, then the coefficient's logarithm."""
    networks = [of_mlp(agent.actor.mlp)]
    networks += [of_mlp(net, member) for net in (agent.critic, agent.target) for member in (0, 1)]
    return [*networks, agent.log_alpha.detach().reshape(1)]


def of_mlp(mlp: MLP, member: int | None = None) -> Tensor:
    """Weights in torch's layout and order: linear layers, then normalisations."""
    parts = []
    for layer in [*mlp.layers, mlp.head]:
        weight, bias = layer.weight, layer.bias
        if member is not None:
            weight, bias = weight[member], bias[member]
        parts += [weight.t(), bias]
    for norm in mlp.norms:
        parts += [parameter[member] for parameter in norm.parameters()]  # scale, shift
    return flat(parts)


def of_layers(modules: Iterable[nn.Module]) -> Tensor:
    """The same of torch's own layers."""
    layers = [layer for module in modules for layer in module.modules()]
    norms = [layer for layer in layers if isinstance(layer, nn.LayerNorm)]
    plain = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return flat([part for layer in plain + norms for part in (layer.weight, layer.bias)])


def of_actor(trunk: nn.Module, mean: nn.Linear, raw_std: nn.Linear) -> Tensor:
    heads = [torch.cat([mean.weight, raw_std.weight]), torch.cat([mean.bias, raw_std.bias])]
    return torch.cat([of_layers([trunk]), flat(heads)])


def flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(first, second, strict=True))
