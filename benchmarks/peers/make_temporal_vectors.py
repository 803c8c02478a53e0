"""Writes test/vectors/temporal_step.json: loss and gradients of a spiking network over time, by PyTorch in float64.

    python make_temporal_vectors.py [--out FILE]

A residual network of two stages, unrolled, batch normalisation with its running statistics, surrogate gradients;
parameters and images come from formula.py. Spikes jump, so the seed is the first of 0, 1, ... for which every potential
stays `MARGIN` thresholds away from where it spikes and, with the rectangle, from the surrogate's edges, and for which
every layer spikes, so that no gradient is 0.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from formula import initial_images, initial_value, rounded
from make_training_vectors import summaries, tensors_of, to_array, to_json
from networks import ResNet
from spiking import IntegrateAndFire

MARGIN = 2e-5
CLASSES = 4
INPUT_SHAPE = (3, 6, 5)
LABELS = [1, 3, 0]
WIDTHS = [4, 6]
CASES = [
    {"timeSteps": 4, "surrogate": "rectangle", "detachReset": True, "lossPerStep": 0},
    {"timeSteps": 3, "surrogate": "triangle", "detachReset": False, "lossPerStep": 0.25},
    {"timeSteps": 2, "surrogate": "arctan", "detachReset": True, "lossPerStep": 1},
    {"timeSteps": 4, "surrogate": "gaussian", "detachReset": False, "lossPerStep": 0},
]


def prepared(case: dict, seed: int) -> tuple[ResNet, torch.Tensor]:
    steps = case["timeSteps"]
    neurons = lambda: IntegrateAndFire(steps, case["surrogate"], case["detachReset"])
    network = ResNet(WIDTHS, 1, CLASSES, neurons).double().eval()
    with torch.no_grad():
        for name, tensor in tensors_of(network).items():
            tensor.copy_(torch.from_numpy(initial_value(name, tuple(tensor.shape), seed)))
            if name.endswith("threshold"):
                tensor.div_(4)
    return network, torch.from_numpy(initial_images((len(LABELS), *INPUT_SHAPE), seed)).double()


def loss_of(logits: torch.Tensor, case: dict) -> torch.Tensor:
    """Of logits [T N, classes]."""
    labels = torch.tensor(LABELS)
    steps, weight = case["timeSteps"], case["lossPerStep"]
    of_mean = functional.cross_entropy(logits.view(steps, len(LABELS), CLASSES).mean(0), labels)
    return (1 - weight) * of_mean + weight * functional.cross_entropy(logits, labels.repeat(steps))


def smallest_margin(case: dict, seed: int) -> float:
    network, images = prepared(case, seed)
    edges = torch.tensor([0.5, 1.0, 1.5] if case["surrogate"] == "rectangle" else [1.0])
    margins = []

    def measure(neurons, inputs) -> None:
        u = 0.5
        for current in (inputs[0] / neurons.threshold).chunk(neurons.steps):
            u = u + current
            margins.append((u[..., None] - edges).abs().min().item())
            u = u - (u >= 1).double()

    for module in network.modules():
        if isinstance(module, IntegrateAndFire):
            module.register_forward_pre_hook(measure)
    with torch.no_grad():
        network(images.repeat(case["timeSteps"], 1, 1, 1))
    return min(margins)


def take_step(case: dict, seed: int) -> tuple[float, dict[str, np.ndarray]]:
    network, images = prepared(case, seed)
    loss = loss_of(network(images.repeat(case["timeSteps"], 1, 1, 1)), case)
    loss.backward()
    return loss.item(), {name: to_array(p.grad) for name, p in network.named_parameters()}


def make_case(case: dict) -> dict:
    for seed in itertools.count():
        loss, gradients = take_step(case, seed)
        if smallest_margin(case, seed) > MARGIN and all(gradient.any() for gradient in gradients.values()):
            return {"settings": case, "seed": seed, "loss": rounded(loss), "gradients": summaries(gradients)}


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "test" / "vectors" / "temporal_step.json"
    parser = argparse.ArgumentParser(description="Writes reference vectors of a spiking network trained over time.")
    parser.add_argument("--out", type=Path, default=default, help="default: test/vectors/temporal_step.json")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    cases = {f"{case['surrogate']}, T={case['timeSteps']}": make_case(case) for case in CASES}
    vectors = {
        "madeBy": f"benchmarks/peers/make_temporal_vectors.py, torch {torch.__version__}, float64",
        "inputShape": INPUT_SHAPE,
        "classes": CLASSES,
        "labels": LABELS,
        "cases": cases,
    }
    out.write_text(to_json(vectors) + "\n")


if __name__ == "__main__":
    main()
