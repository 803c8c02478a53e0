"""Writes test/vectors/resnet20_step.json: one training step of ResNet-20, by PyTorch in float64 on one thread.

    python make_training_vectors.py [--out FILE]

Forward in training mode, cross-entropy, backward, then SGD or AdamW from a state that is not zero; parameters, state
and images come from formula.py. Case `qcfs` has L = 4, case `lsq` p = 3, without noise. Thresholds lie around the usual
initial values, each a different one.

The quantisers jump and sums cancel, so not every start lets float32 come near float64. The seed is the first of
0, 1, ... that is well posed: every activation of the float64 network stays `MARGIN` levels away from each edge (of
rounding and of the clip), and PyTorch's own float32 step stays within a tenth of the test's tolerance.
"""

import argparse
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from formula import initial_images, initial_value, rounded, summarise
from networks import ACTIVATIONS, ResNet, build_network

MARGIN = 4e-5
TOLERANCE = 1e-4
# Half a unit in the last place of float32, relative: parameters are stored no finer.
ROUNDING = 2.0**-24
# How much of an update may be such rounding.
LARGEST_ROUNDING = 1e-3
BATCH = 4
CLASSES = 10
# Not square; strides meet odd sizes (9, 5) and even ones (8, 4).
INPUT_SHAPE = (3, 9, 8)
LABELS = [6, 0, 8, 6]
OPTIMIZERS = {
    "sgd": {"kind": "sgd", "momentum": 0.9, "weightDecay": 5e-4, "learningRate": 0.1},
    "adamw": {
        "kind": "adamw",
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "weightDecay": 0.05,
        "learningRate": 0.01,
        "step": 3,
    },
}
STATES = {"sgd": {"momentum": "momentum_buffer"}, "adamw": {"moment1": "exp_avg", "moment2": "exp_avg_sq"}}
CASES = {"qcfs": ["sgd", "adamw"], "lsq": ["sgd"]}


def tensors_of(network: ResNet) -> dict[str, torch.Tensor]:
    return {name: t for name, t in network.state_dict(keep_vars=True).items() if not name.endswith("num_batches_tracked")}


def prepared(activation: str, seed: int, dtype: torch.dtype) -> tuple[ResNet, torch.Tensor]:
    """The network with its parameters, and the images."""
    network = build_network("resnet20", activation, CLASSES).to(dtype).train()
    with torch.no_grad():
        for name, tensor in tensors_of(network).items():
            tensor.copy_(torch.from_numpy(initial_value(name, tuple(tensor.shape), seed)))
    return network, torch.from_numpy(initial_images((BATCH, *INPUT_SHAPE), seed)).to(dtype)


def smallest_margin(activation: str, seed: int) -> float:
    """Over all inputs of quantisers, in levels."""
    network, images = prepared(activation, seed, torch.float64)
    margins = []

    def measure(quantiser, inputs) -> None:
        edges = torch.tensor([0, *(level + 0.5 for level in range(quantiser.levels)), quantiser.levels])
        margins.append((quantiser.scaled(inputs[0])[..., None] - edges).abs().min().item())

    for module in network.modules():
        if isinstance(module, tuple(ACTIVATIONS.values())):
            module.register_forward_pre_hook(measure)
    with torch.no_grad():
        network(images)
    return min(margins)


def make_optimizer(network: ResNet, settings: dict, seed: int) -> torch.optim.Optimizer:
    """With a state from the formula, so that momentum, moments and bias corrections all matter."""
    kind = settings["kind"]
    rate, decay = settings["learningRate"], settings["weightDecay"]
    if kind == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=settings["momentum"], weight_decay=decay)
    else:
        betas = (settings["beta1"], settings["beta2"])
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=betas, eps=settings["epsilon"], weight_decay=decay)
    for name, parameter in network.named_parameters():
        for suffix, key in STATES[kind].items():
            value = initial_value(f"{name}.{suffix}", tuple(parameter.shape), seed)
            optimizer.state[parameter][key] = torch.from_numpy(value).to(parameter.dtype)
        if kind == "adamw":
            optimizer.state[parameter]["step"] = torch.tensor(float(settings["step"] - 1))
    return optimizer


@dataclass
class Step:
    """Arrays in float64. Updates are the value after the step minus the one before."""

    loss: float
    correct: int
    before: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    buffer_updates: dict[str, np.ndarray]
    updates: dict[str, np.ndarray]
    states: dict[str, np.ndarray]


def take_step(activation: str, optimizer_name: str, seed: int, dtype: torch.dtype) -> Step:
    network, images = prepared(activation, seed, dtype)
    settings = OPTIMIZERS[optimizer_name]
    optimizer = make_optimizer(network, settings, seed)
    labels = torch.tensor(LABELS)
    before = {name: to_array(tensor) for name, tensor in tensors_of(network).items()}
    logits = network(images)
    loss = functional.cross_entropy(logits, labels)
    loss.backward()
    gradients = {name: to_array(p.grad) for name, p in network.named_parameters()}
    optimizer.step()
    updates = {name: to_array(tensor) - before[name] for name, tensor in tensors_of(network).items()}
    states = {
        f"{name}.{suffix}": to_array(optimizer.state[p][key])
        for name, p in network.named_parameters()
        for suffix, key in STATES[settings["kind"]].items()
    }
    return Step(
        loss=loss.item(),
        correct=int((logits.argmax(1) == labels).sum()),
        before=before,
        gradients=gradients,
        buffer_updates={name: update for name, update in updates.items() if name not in gradients},
        updates={name: updates[name] for name in gradients},
        states=states,
    )


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """A copy in float64."""
    return np.array(tensor.detach().double().numpy())


def largest_error(exact: Step, single: Step) -> float:
    """Of any tensor, relative to its norm; of updates what is beyond rounding. Infinite where rounding is too much."""
    errors = []
    for group in ("gradients", "states", "updates", "buffer_updates"):
        for name, expected in getattr(exact, group).items():
            norm = np.linalg.norm(expected)
            rounding = ROUNDING * np.linalg.norm(exact.before[name]) / norm if "updates" in group else 0
            errors.append(np.linalg.norm(getattr(single, group)[name] - expected) / norm - rounding)
            if rounding > LARGEST_ROUNDING:
                return np.inf
    return max(errors)


def find_steps(activation: str) -> tuple[int, dict[str, Step]]:
    for seed in itertools.count():
        margin = smallest_margin(activation, seed)
        if margin < MARGIN:
            continue
        exact = {name: take_step(activation, name, seed, torch.float64) for name in CASES[activation]}
        error = max(largest_error(step, take_step(activation, name, seed, torch.float32)) for name, step in exact.items())
        print(f"{activation}: seed {seed}, margin {margin:.1e} levels, error of PyTorch in float32 {error:.1e}", file=sys.stderr)
        if error < TOLERANCE / 10:
            return seed, exact


def summaries(tensors: dict[str, np.ndarray]) -> dict[str, dict]:
    return {name: summarise(name, tensor) for name, tensor in tensors.items()}


def make_case(activation: str) -> dict:
    seed, steps = find_steps(activation)
    any_step = next(iter(steps.values()))
    return {
        "activation": activation,
        "levels": ACTIVATIONS[activation]().levels,
        "seed": seed,
        # Sums of dyadic numbers, exact: whether both sides start from the same values.
        "sums": {
            "images": float(initial_images((BATCH, *INPUT_SHAPE), seed).sum()),
            "tensors": float(sum(tensor.sum() for tensor in any_step.before.values())),
        },
        "loss": rounded(any_step.loss),
        "correct": any_step.correct,
        "gradients": summaries(any_step.gradients),
        "bufferUpdates": summaries(any_step.buffer_updates),
        "optimizers": {
            name: {"settings": OPTIMIZERS[name], "updates": summaries(step.updates), "states": summaries(step.states)}
            for name, step in steps.items()
        },
    }


def to_json(value: object) -> str:
    """One line per tensor."""
    if not isinstance(value, dict) or "norm" in value:
        return json.dumps(value, separators=(",", ":"))
    items = (f"{json.dumps(key)}:{to_json(item)}" for key, item in value.items())
    return "{\n" + ",\n".join(items) + "\n}"


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "test" / "vectors" / "resnet20_step.json"
    parser = argparse.ArgumentParser(description="Writes reference vectors of one training step of ResNet-20.")
    parser.add_argument("--out", type=Path, default=default, help="default: test/vectors/resnet20_step.json")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    vectors = {
        "madeBy": f"benchmarks/peers/make_training_vectors.py, torch {torch.__version__}, float64",
        "inputShape": INPUT_SHAPE,
        "classes": CLASSES,
        "labels": LABELS,
        "cases": {activation: make_case(activation) for activation in CASES},
    }
    out.write_text(to_json(vectors) + "\n")


if __name__ == "__main__":
    main()
