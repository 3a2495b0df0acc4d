"""Adam: torch's own steps, and a state that restores in place."""

import torch

from unirl_repro.nn.adam import Adam


def parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (4,), ()]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters()]


def test_takes_the_steps_of_torchs_adam() -> None:
    ours, theirs = parameters(), [p.requires_grad_() for p in parameters()]
    adam, peer = Adam(ours, 0.01), torch.optim.Adam(theirs, lr=0.01)
    for step in range(5):
        adam.step(gradients(step))
        for p, gradient in zip(theirs, gradients(step), strict=True):
            p.grad = gradient
        peer.step()
    for mine, their in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, their.detach(), rtol=0, atol=1e-12)


def test_a_restored_optimiser_goes_on_the_same() -> None:
    first, second = parameters(), parameters()
    adam, restored = Adam(first, 0.01), Adam(second, 0.01)
    adam.step(gradients(0))
    held = restored.mean[0]
    restored.load_state_dict(adam.state_dict())
    for mine, theirs in zip(second, first, strict=True):
        mine.copy_(theirs)
    adam.step(gradients(1))
    restored.step(gradients(1))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert restored.mean[0] is held
