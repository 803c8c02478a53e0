"""Integrate-and-fire neurons over time, and how surrogate gradients go back through them."""

import math

import torch
from torch import Tensor, nn

# Of x = v / theta - 1.
SURROGATES = {
    "rectangle": lambda x: (x.abs() <= 0.5).to(x.dtype),
    "triangle": lambda x: torch.clamp(1 - x.abs(), min=0),
    "arctan": lambda x: 1 / (1 + (math.pi * x) ** 2),
    "gaussian": lambda x: torch.exp(-math.pi * x**2),
}


class Spike(torch.autograd.Function):
    """1 where u >= 1; its derivative is the surrogate."""

    @staticmethod
    def forward(ctx, u: Tensor, surrogate: str) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u >= 1).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (u,) = ctx.saved_tensors
        return gradient * SURROGATES[ctx.surrogate](u - 1), None


class IntegrateAndFire(nn.Module):
    """Currents [T N, ...], the steps one after the other, to spikes of amplitude theta; v(0) = theta / 2, soft reset."""

    def __init__(self, steps: int, surrogate: str, detach_reset: bool):
        super().__init__()
        self.steps = steps
        self.surrogate = surrogate
        self.detach_reset = detach_reset
        self.threshold = nn.Parameter(torch.tensor(1.0))

    def forward(self, currents: Tensor) -> Tensor:
        u = 0.5
        out = []
        for current in (currents / self.threshold).chunk(self.steps):
            u = u + current
            spike = Spike.apply(u, self.surrogate)
            out.append(spike * self.threshold)
            u = u - (spike.detach() if self.detach_reset else spike)
        return torch.cat(out)
