"""SpikingJelly on the CPU as a contestant of ../engine.mjs: one job in JSON on the command line, one line of JSON back.

Reads the same spiking model file as noisefloor (docs/format.md), so weights, thresholds, T and images are the same; the
integers become float32. Multi-step mode, torch backend. The analog first synapse is computed once for all steps.
"""

import json
import struct
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

DTYPES = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "F64": np.float64}


def read_model(path: str) -> tuple[dict, dict[str, np.ndarray]]:
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return json.loads(metadata["model"]), tensors


class Synapse(nn.Module):
    """Current [N, C, H, W] that the values of a source give, in units of the potential."""

    def __init__(self, synapse: dict, name: str, tensors: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.synapse = synapse
        scale = tensors[f"{name}.multiplier"].astype(np.float64) / 2.0 ** synapse["shift"]
        if synapse["kind"] == "conv2d":
            weight = tensors[f"{name}.weight"] * scale[:, None, None, None]
            self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float32), requires_grad=False)
        else:
            self.scale = torch.tensor(scale, dtype=torch.float32).view(1, -1, 1, 1)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        synapse = self.synapse
        if "pool" in synapse:
            kernel, stride = synapse["pool"]["kernel"], synapse["pool"]["stride"]
            value = nn.functional.avg_pool2d(value, kernel, stride, divisor_override=1)
        if synapse["kind"] == "identity":
            return value[:, :, :: synapse["stride"][0], :: synapse["stride"][1]] * self.scale
        top, left, bottom, right = synapse["padding"]
        if (top, left) == (bottom, right):
            padding = (top, left)
        else:
            value, padding = nn.functional.pad(value, (left, right, top, bottom)), (0, 0)
        return nn.functional.conv2d(value, self.weight, None, tuple(synapse["stride"]), padding, 1, synapse["groups"])


class SpikingNetwork(nn.Module):
    """images [N, C, H, W] -> sum of the logits over T steps, in units of the potential."""

    def __init__(self, model: dict, tensors: dict[str, np.ndarray], steps: int) -> None:
        super().__init__()
        self.model, self.steps = model, steps
        self.synapses, self.neurons, self.biases = nn.ModuleList(), nn.ModuleList(), []
        for layer in model["layers"]:
            name = layer["name"]
            self.synapses.append(nn.ModuleList(Synapse(s, f"{name}.{i}", tensors) for i, s in enumerate(layer["synapses"])))
            column = lambda suffix: torch.tensor(tensors[f"{name}.{suffix}"], dtype=torch.float32).view(1, 1, -1, 1, 1)
            bias, node = column("bias"), nn.Identity()
            if layer["kind"] == "spiking":
                # IFNode has one threshold and starts at 0: currents are divided by theta, and v(0) joins the first step.
                theta, initial = column("threshold"), column("initial_potential")
                node = neuron.IFNode(v_threshold=1.0, v_reset=None, step_mode="m")
                self.biases.append((bias / theta, initial / theta, 1 / theta))
            else:
                self.biases.append((bias, None, None))
            self.neurons.append(node)
        self.fold_thresholds()

    def fold_thresholds(self) -> None:
        """Into weights and scales, so that no step multiplies by 1 / theta."""
        for synapses, (_, _, factor) in zip(self.synapses, self.biases):
            for synapse in synapses if factor is not None else []:
                if synapse.synapse["kind"] == "conv2d":
                    synapse.weight.mul_(factor.view(-1, 1, 1, 1))
                else:
                    synapse.scale = synapse.scale * factor.view(1, -1, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scale = self.model["input"]["scale"]
        values = {"input": torch.clamp(torch.round(images * scale), -32768, 32767)}
        for layer, synapses, node, (bias, initial, _) in zip(self.model["layers"], self.synapses, self.neurons, self.biases):
            current = bias
            for synapse in synapses:
                value = values[synapse.synapse["source"]]
                analog = synapse.synapse["source"] == "input"
                part = synapse(value if analog else value.flatten(0, 1))
                current = current + (part.unsqueeze(0) if analog else part.unflatten(0, (self.steps, -1)))
            if layer["kind"] != "spiking":
                return current.sum(0).flatten(1)
            current = current.expand(self.steps, *current.shape[1:]).clone()
            current[0] += initial[0]
            values[layer["name"]] = node(current)
        raise AssertionError("the last layer is the read-out")


def read_images(spec: str, count: int, normalization: dict) -> tuple[torch.Tensor, np.ndarray]:
    kind, _, folder = spec.partition(":")
    assert kind == "cifar10", f"only cifar10:DIR is read here, not {spec}"
    records = np.fromfile(f"{folder}/test_batch.bin", np.uint8).reshape(-1, 3073)[:count]
    mean, std = (torch.tensor(normalization[key], dtype=torch.float32).view(1, 3, 1, 1) for key in ("mean", "std"))
    pixels = torch.tensor(records[:, 1:].reshape(-1, 3, 32, 32), dtype=torch.float32)
    return (pixels / 255 - mean) / std, records[:, 0]


@torch.inference_mode()
def main() -> None:
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job["threads"])
    model, tensors = read_model(job["model"])
    network = SpikingNetwork(model, tensors, job["timeSteps"]).eval()
    size = job["batchSize"]
    images, labels = read_images(job["data"], job["images"] // size * size, model["input"]["normalization"])

    def run(batch: int) -> np.ndarray:
        functional.reset_net(network)
        return network(images[batch * size : (batch + 1) * size]).argmax(1).numpy()

    batches = len(labels) // size
    accurate = min(batches, max(1, job.get("accuracyImages", len(labels)) // size))
    right = sum(int((run(b) == labels[b * size : (b + 1) * size]).sum()) for b in range(accurate))
    milliseconds = []
    end = time.perf_counter() + job["seconds"]
    while time.perf_counter() < end or len(milliseconds) < 5:
        began = time.perf_counter()
        run(len(milliseconds) % batches)
        milliseconds.append((time.perf_counter() - began) * 1000)
    about = f"SpikingJelly {version('spikingjelly')}, torch {torch.__version__}, multi-step"
    print(json.dumps({"top1": right / (accurate * size), "milliseconds": milliseconds, "about": about}))


if __name__ == "__main__":
    main()
