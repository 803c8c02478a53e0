"""Writes test/vectors/method_steps.json: loss and gradients of one training step of each method, by PyTorch in float64.

    python make_method_vectors.py [--out FILE]

A small residual network; parameters, images and noise come from formula.py. Each method is written here as its formula
(docs/training.md) and differentiated by autograd; only rounding and firing have a derivative of their own. The seed of a
case is the first of 0, 1, ... at which no value lies within `MARGIN` levels of an edge, so that float32 rounds alike.
"""

import argparse
import itertools
import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from formula import grid, initial_images, initial_value, rounded, summarise
from make_training_vectors import to_json
from networks import StraightThroughFloor

MARGIN = 2e-5
BATCH, CLASSES, SHAPE = 4, 3, (2, 5, 4)
LABELS = [2, 0, 1, 2]

CASES = {
    "nq of a fixed strength": {"activation": "qcfs", "noise": "nq", "noiseSigma": 0.25},
    "adaptor A": {"activation": "lsq", "noise": "adaptor", "noiseVariant": "A", "noiseAmplitude": 0.5},
    "adaptor B": {"activation": "lsq", "noise": "adaptor", "noiseVariant": "B", "noiseAmplitude": 0.5},
    "adaptor C": {"activation": "lsq", "noise": "adaptor", "noiseVariant": "C", "noiseAmplitude": 0.25},
    "single-step, gaussian": {"activation": "spike", "noise": "single-step", "noiseSigma": 0.25, "surrogate": "gaussian"},
    "single-step, rectangle": {"activation": "spike", "noise": "single-step", "noiseLaw": "uniform", "surrogate": "rectangle"},
    "single-step, arctan": {"activation": "spike", "noise": "single-step", "noiseLaw": "uniform", "surrogate": "arctan"},
    "slip-relu": {"activation": "slip-relu", "noise": "none"},
    "tcl": {"activation": "tcl", "noise": "none"},
    "hoyer": {"activation": "qcfs", "noise": "none", "activityPenalty": 2, "penalty": "hoyer"},
    "spike budget": {"activation": "qcfs", "noise": "none", "activityPenalty": 2, "spikeBudget": 0.125},
    "weights of 8 bits": {"activation": "qcfs", "noise": "none", "weightBits": 8},
}
LEVELS = {"qcfs": 4, "lsq": 3, "slip-relu": 4, "tcl": 1, "spike": 1}
SLOPE = 0.25


def noise_scale(case: dict) -> float:
    if case["noise"] == "adaptor":
        return case["noiseAmplitude"]
    return case.get("noiseSigma", 0.5)


class Fire(torch.autograd.Function):
    """1[m >= 1] with the derivative `slope`."""

    @staticmethod
    def forward(ctx, m: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return (m >= 1).to(m.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (slope,) = ctx.saved_tensors
        return gradient * slope, None


def inclusive_clamp(x: Tensor, most: int) -> Tensor:
    """clamp(x, 0, most) whose gradient passes at the bounds, as that of PyTorch 1 did; later versions stop it there."""
    return torch.where((x >= 0) & (x <= most), x, x.detach().clamp(0, most))


def surrogate(case: dict, clean: Tensor, m: Tensor) -> Tensor:
    """Of the membranes in units of the threshold, without and with noise."""
    if case["surrogate"] == "gaussian":
        sigma = case["noiseSigma"]
        return torch.exp(-(((clean - 1) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    if case["surrogate"] == "rectangle":
        return ((m - 1).abs() <= 0.5).to(m.dtype)
    return 1 / (1 + (math.pi * (m - 1)) ** 2)


class Activation(nn.Module):
    def __init__(self, case: dict, noise: Tensor):
        super().__init__()
        self.case, self.noise = case, noise
        self.levels = LEVELS[case["activation"]]
        self.edges = torch.tensor([0, *(level + 0.5 for level in range(-1, self.levels + 1)), self.levels])
        parameter = nn.Parameter(torch.tensor(1.0))
        self.register_parameter("scale" if case["activation"] == "lsq" else "threshold", parameter)
        self.margin = math.inf
        self.level = None

    def forward(self, z: Tensor) -> Tensor:
        kind = self.case["activation"]
        if kind == "lsq":
            return self.lsq(z)
        theta = self.threshold
        u = z / theta * self.levels
        self.measure(u if kind != "spike" else u + self.noise, u)
        if kind == "tcl":
            self.level = torch.clamp(u, 0, 1)
            return self.level * theta
        if kind == "slip-relu":
            stairs = inclusive_clamp(StraightThroughFloor.apply(u + 0.5), self.levels)
            return (SLOPE * torch.clamp(u, 0, self.levels) + (1 - SLOPE) * stairs) / self.levels * theta
        if kind == "spike":
            clean, m = (u + 0.5).detach(), u + 0.5 + self.noise
            return Fire.apply(m, surrogate(self.case, clean, m.detach())) * theta
        self.level = StraightThroughFloor.apply(torch.clamp(u, 0, self.levels) + 0.5)
        y = self.level / self.levels * theta
        return y - (self.noise * theta).detach() if self.case["noise"] == "nq" else y

    def lsq(self, z: Tensor) -> Tensor:
        damping = (len(z) * self.levels) ** -0.5
        s = self.scale.detach() + (self.scale - self.scale.detach()) * damping
        variant = self.case["noiseVariant"]
        u = z / s if variant == "C" else z / s + self.noise
        self.measure(u, u)
        clipped = torch.clamp(u, 0, self.levels)
        if variant == "B":
            return clipped * s
        y = StraightThroughFloor.apply(clipped + 0.5) * s
        return y + (self.noise * s).detach() if variant == "C" else y

    def measure(self, *values: Tensor) -> None:
        self.margin = min((v.detach()[..., None] - self.edges.to(v.dtype)).abs().min().item() for v in values)


def quantised(weight: Tensor) -> Tensor:
    """round(w / scale) scale, scale = max|w| / 127 of the output channel; straight through."""
    scale = weight.abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.ndim - 1)) / 127
    return weight + (torch.round(weight / scale) * scale - weight).detach()


class Network(nn.Module):
    """conv, bn, act, then conv plus shortcut, act, linear; names as in test/training/methodVectors.test.ts."""

    def __init__(self, case: dict, seed: int):
        super().__init__()
        self.case = case
        self.c1 = nn.Conv2d(SHAPE[0], 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.c2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4 * SHAPE[1] * SHAPE[2], CLASSES)
        self.a1, self.a2 = (Activation(case, self.noise_of(name, seed)) for name in ("a1", "a2"))

    def noise_of(self, name: str, seed: int) -> Tensor:
        shape = (BATCH, 4, *SHAPE[1:])
        return torch.from_numpy(grid(f"{seed}:noise:{name}", math.prod(shape))).reshape(shape) * noise_scale(self.case)

    def weight_of(self, layer: nn.Module) -> Tensor:
        return quantised(layer.weight) if "weightBits" in self.case else layer.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.a1(self.bn(functional.conv2d(x, self.weight_of(self.c1), padding=1)))
        x = self.a2(functional.conv2d(x, self.weight_of(self.c2), self.c2.bias, padding=1) + x)
        return functional.linear(x.flatten(1), self.weight_of(self.fc), self.fc.bias)

    def penalty(self) -> Tensor | float:
        weight = self.case.get("activityPenalty", 0)
        if weight == 0:
            return 0.0
        return weight * sum(self.measure_of(act) for act in (self.a1, self.a2))

    def measure_of(self, act: Activation) -> Tensor:
        if self.case.get("penalty") == "hoyer":
            return act.level.sum() ** 2 / (act.level**2).sum() / act.level.numel()
        return functional.relu(act.level.mean() / act.levels - self.case.get("spikeBudget", 0))


def take_step(case: dict, seed: int) -> tuple[float, dict]:
    """The margin, and the vectors."""
    network = Network(case, seed).double().train()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            # Small thresholds, so that every activation is clipped somewhere.
            smaller = 8 if name.endswith("threshold") else 1
            parameter.copy_(torch.from_numpy(initial_value(name, tuple(parameter.shape), seed)) / smaller)
    images = torch.from_numpy(initial_images((BATCH, *SHAPE), seed)).double()
    loss = functional.cross_entropy(network(images), torch.tensor(LABELS))
    (loss + network.penalty()).backward()
    gradients = {name: p.grad.numpy() for name, p in network.named_parameters()}
    vectors = {"loss": rounded(loss.item()), "gradients": {name: summarise(name, g) for name, g in gradients.items()}}
    return min(network.a1.margin, network.a2.margin), vectors


def make_case(case: dict) -> dict:
    for seed in itertools.count():
        margin, vectors = take_step(case, seed)
        if margin > MARGIN:
            return {"options": case, "seed": seed, **vectors}


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "test" / "vectors" / "method_steps.json"
    parser = argparse.ArgumentParser(description="Writes reference vectors of one training step of each method.")
    parser.add_argument("--out", type=Path, default=default, help="default: test/vectors/method_steps.json")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    vectors = {
        "madeBy": f"benchmarks/peers/make_method_vectors.py, torch {torch.__version__}, float64",
        "labels": LABELS,
        "slope": SLOPE,
        "cases": {name: make_case(case) for name, case in CASES.items()},
    }
    out.write_text(to_json(vectors) + "\n")


if __name__ == "__main__":
    main()
