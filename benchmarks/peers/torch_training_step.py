"""Times PyTorch's eager training step of the same quantised network, and prints one line of JSON.

A step is forward, cross-entropy, backward and SGD with momentum and weight decay, in float32, on random images of CIFAR
size that stay the same; what it costs does not depend on their content. On CUDA, matrix products and convolutions use
TF32, and the time runs until the device is done.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from torch.nn import functional

from networks import ACTIVATIONS, build_network

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times PyTorch's eager training step of a quantised network.")
    parser.add_argument("--network", choices=["resnet20", "resnet18"], default="resnet20", help="default: %(default)s")
    parser.add_argument("--activation", choices=list(ACTIVATIONS), default="qcfs", help="default: %(default)s")
    parser.add_argument("--batch-size", type=positive, default=128, help="default: %(default)s")
    parser.add_argument("--threads", type=positive, default=1, help="default: %(default)s")
    parser.add_argument("--steps", type=positive, default=20, help="timed steps, default: %(default)s")
    parser.add_argument("--warmup", type=positive, default=3, help="steps before them, default: %(default)s")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: %(default)s")
    parser.add_argument("--memory-format", choices=list(MEMORY_FORMATS), default="contiguous", help="default: %(default)s")
    return parser.parse_args()


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer but received {text}")
    return value


def time_steps(arguments: argparse.Namespace) -> list[float]:
    """Milliseconds of each timed step."""
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device, memory_format = arguments.device, MEMORY_FORMATS[arguments.memory_format]
    network = build_network(arguments.network, arguments.activation).train().to(device, memory_format=memory_format)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    images = torch.randn(arguments.batch_size, 3, 32, 32).to(device, memory_format=memory_format)
    labels = torch.randint(10, (arguments.batch_size,), device=device)
    milliseconds = []
    for _ in range(arguments.warmup + arguments.steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        milliseconds.append((time.perf_counter() - start) * 1000)
    if not torch.isfinite(loss):
        raise SystemExit(f"The loss became {loss.item()}: the timing would be of another computation.")
    return milliseconds[arguments.warmup :]


def main() -> None:
    arguments = parse_arguments()
    milliseconds = time_steps(arguments)
    median = statistics.median(milliseconds)
    result = {
        "peer": "pytorch",
        "version": torch.__version__,
        "instructionSet": torch.backends.cpu.get_cpu_capability(),
        "network": arguments.network,
        "activation": arguments.activation,
        "memoryFormat": arguments.memory_format,
        "batchSize": arguments.batch_size,
        "threads": arguments.threads,
        "steps": arguments.steps,
        "medianMs": round(median, 3),
        "minMs": round(min(milliseconds), 3),
        "peakMiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "imagesPerSecond": round(arguments.batch_size / median * 1000, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
