"""How large checkpoints and replays become, reckoned from hyper-parameters without building anything."""

from itertools import pairwise

from unirl_repro.config import RunSpec
from unirl_repro.hyperparameters import (
    ALMParameters,
    DDPGParameters,
    HLParameters,
    MBPOParameters,
    MBRLParameters,
    Parameters,
    PDMLParameters,
    PPOParameters,
    SACParameters,
    SVGParameters,
    TD3Parameters,
    UnifiedParameters,
    USBPOParameters,
)

LEARNT = 3  # numbers for each weight that is optimised: itself and Adam's two moments
TARGET = 1  # and for one that follows another


def state_bytes(spec: RunSpec) -> int:
    """Size of a checkpoint without its replay: weights and what optimisers know of each."""
    sizes = spec.task.obs_dim, spec.task.action_dim
    numbers = _numbers(spec.parameters, *sizes)
    if isinstance(spec.parameters, SVGParameters):  # it knows a number of each transition
        numbers += min(spec.parameters.replay_capacity, spec.budget)
    if isinstance(spec.parameters, MBPOParameters):
        numbers += _sources(spec.parameters, spec.budget, *sizes)
    return 4 * numbers


def replay_bytes(spec: RunSpec) -> int:
    """What a checkpoint's replay takes once the run is finished."""
    capacity = getattr(spec.parameters, "replay_capacity", spec.task.horizon)
    numbers = 2 * spec.task.obs_dim + spec.task.action_dim + 2
    return 4 * numbers * min(capacity, spec.budget)


def _numbers(p: Parameters, obs: int, action: int) -> int:
    """Of a state, which has `LEARNT` for each weight, and one more where it has a target."""
    match p:
        case UnifiedParameters():
            return sum(_numbers(part, obs, action) for part in (p.sac, p.mbrl))
        case HLParameters():
            return _numbers(p.sac, obs, action) + LEARNT * _one_step(p, obs, action)
        case SACParameters():
            critics = 2 * _weights([obs + action, *p.hidden, 1])
            return LEARNT * _actor(p, obs, action) + (LEARNT + TARGET) * critics
        case TD3Parameters() | DDPGParameters():
            num_critics = 2 if isinstance(p, TD3Parameters) else 1
            critics = num_critics * _weights([obs + action, *p.hidden, 1])
            return (LEARNT + TARGET) * (_weights([obs, *p.hidden, action]) + critics)
        case PPOParameters():
            networks = _weights([obs, *p.hidden, action]) + _weights([obs, *p.hidden, 1])
            return LEARNT * (networks + action) + p.num_steps * (obs + action + 2)
        case SVGParameters():
            value = _weights([obs, *p.hidden, 1])
            learnt = _actor(p, obs, action) + value + _one_step(p, obs, action)
            return LEARNT * learnt + TARGET * value
        case ALMParameters():
            return _alm(p, obs, action)
        case MBPOParameters():
            optimisers = 2 if isinstance(p, USBPOParameters) else 1  # each with two moments
            learnt = (1 + 2 * optimisers) * _ensemble(p, obs, action)
            return _numbers(p.sac, obs, action) + learnt
    return LEARNT * _mbrl(p, obs, action)


def _sources(p: MBPOParameters, budget: int, obs: int, action: int) -> int:
    """What the kept model data came from: of each set a model, a policy and where it started."""
    rollouts = max(0, 1 + (budget - max(1, p.sac.random_steps)) // p.model_every)
    kept = min(rollouts, p.model_data_epochs * p.epoch_length // p.model_every)
    policy = _actor(p.sac, obs, action)
    numbers = kept * (_ensemble(p, obs, action) + policy + p.rollout_batch)
    if isinstance(p, PDMLParameters):  # and every policy that it had
        numbers += rollouts * policy
    return numbers


def _ensemble(p: MBPOParameters, obs: int, action: int) -> int:
    return p.members * _weights([obs + action, *p.model_hidden, 2 * (obs + 1)])


def _actor(p: SACParameters | MBRLParameters | SVGParameters, obs: int, action: int) -> int:
    return _weights([obs, *p.hidden, 2 * action])


def _one_step(p: SVGParameters | HLParameters, obs: int, action: int) -> int:
    """The Gaussian model of one step, and its reward."""
    inputs = [obs + action, *p.model_hidden]
    return _weights([*inputs, obs]) + _weights([*inputs, 1]) + obs


def _mbrl(p: MBRLParameters, obs: int, action: int) -> int:
    units = p.model_hidden
    lstm = 4 * units * (2 * units + 1)
    model = _weights([obs + action, units]) + lstm
    model += _weights([units, units, units, 2 * (obs + 1)])
    return _actor(p, obs, action) + model + _weights([obs, *p.critic_hidden, 1])


def _alm(p: ALMParameters, obs: int, action: int) -> int:
    hidden, norm, both = [p.hidden, p.hidden], 2 * p.hidden, p.latent + action
    encoder = _weights([obs, *hidden, 2 * p.latent])
    critics = 2 * (_weights([both, *hidden, 1]) + norm)
    learnt = encoder + critics + _weights([p.latent, *hidden, action])
    learnt += _weights([both, p.model_hidden, p.model_hidden, 2 * p.latent])
    learnt += _weights([both, *hidden, 1]) + _weights([both + p.latent, *hidden, 2]) + 2 * norm
    return LEARNT * learnt + TARGET * (encoder + critics)


def _weights(sizes: list[int]) -> int:
    return sum((i + 1) * o for i, o in pairwise(sizes))
