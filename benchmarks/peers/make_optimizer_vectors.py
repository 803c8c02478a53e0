"""Writes test/vectors/optimizers.json: four steps of PyTorch's optimisers in float64, with clipping and moving averages.

    python make_optimizer_vectors.py [--out FILE]

Two tensors of a few values; the gradients come from formula.py, another one each step. The moving average is
`AveragedModel` with the decays of src/training/average.ts.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel

from formula import initial_value, rounded

STEPS = 4
RATE = 0.1
SHAPES = {"w": (3, 2), "b": (3,)}
SGD = {"kind": "sgd", "momentum": 0.9, "weightDecay": 0.01}
CASES = {
    "sgd": {"optimizer": SGD},
    "nesterov": {"optimizer": {**SGD, "nesterov": True}},
    "nesterov, clipped": {"optimizer": {**SGD, "nesterov": True}, "clipNorm": 0.25},
    "sgd, norm below the limit": {"optimizer": SGD, "clipNorm": 100},
    "sgd, averaged": {"optimizer": SGD, "ema": 0.3},
    "adamw": {"optimizer": {"kind": "adamw", "weightDecay": 0.05}},
    "adamw, clipped and averaged": {"optimizer": {"kind": "adamw", "weightDecay": 0.05}, "clipNorm": 0.25, "ema": 0.3},
}


class Tensors(nn.Module):
    def __init__(self):
        super().__init__()
        for name, shape in SHAPES.items():
            self.register_parameter(name, nn.Parameter(torch.from_numpy(initial_value(f"{name}.bias", shape, 0)).double()))


def make_optimizer(module: nn.Module, settings: dict) -> torch.optim.Optimizer:
    if settings["kind"] == "adamw":
        return torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=settings["weightDecay"])
    return torch.optim.SGD(
        module.parameters(),
        lr=RATE,
        momentum=settings["momentum"],
        weight_decay=settings["weightDecay"],
        nesterov=settings.get("nesterov", False),
    )


def average_of(module: Tensors, decay: float) -> AveragedModel:
    """`AveragedModel` copies at its first update: that is done here, with the values before the first step."""

    def blend(average, value, updates):
        kept = min(decay, (1 + updates) / (10 + updates))
        return kept * average + (1 - kept) * value

    average = AveragedModel(module, avg_fn=blend)
    average.update_parameters(module)
    return average


def take_steps(case: dict) -> dict:
    module = Tensors()
    optimizer = make_optimizer(module, case["optimizer"])
    average = average_of(module, case["ema"]) if "ema" in case else None
    norms = []
    for step in range(STEPS):
        for name, parameter in module.named_parameters():
            parameter.grad = torch.from_numpy(initial_value(f"{name}{step}.bias", SHAPES[name], 0)).double()
        if "clipNorm" in case:
            norms.append(rounded(clip_grad_norm_(module.parameters(), case["clipNorm"]).item()))
        optimizer.step()
        if average:
            average.update_parameters(module)
    result = {"parameters": values_of(module)}
    if norms:
        result["gradientNorms"] = norms
    if average:
        result["averages"] = values_of(average.module)
    return result


def values_of(module: nn.Module) -> dict[str, list[float]]:
    return {name: [rounded(value) for value in p.detach().reshape(-1).tolist()] for name, p in module.named_parameters()}


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "test" / "vectors" / "optimizers.json"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=default)
    cases = {name: {**case, "expected": take_steps(case)} for name, case in CASES.items()}
    body = ",\n".join(f"{json.dumps(name)}:{json.dumps(case, separators=(',', ':'))}" for name, case in cases.items())
    shapes = json.dumps(SHAPES)
    parser.parse_args().out.write_text(f'{{"steps":{STEPS},"learningRate":{RATE},"shapes":{shapes},"cases":{{\n{body}\n}}}}\n')


if __name__ == "__main__":
    main()
