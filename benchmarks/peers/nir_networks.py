"""Networks in the Neuromorphic Intermediate Representation, by the Python package nir.

    python nir_networks.py write OUT          peer.nir and peer.json of test/vectors/nir: a network, images, and its spikes
    python nir_networks.py run FILE INPUT     spikes of a file, of the images and time steps in the JSON file INPUT;
                                              with --unchecked files with convolutions in groups too

Neurons begin at half of the threshold, or where the file says it (metadata, initial_potential), and subtract it when they
fire: v += r I; z = v >= threshold; v -= threshold z. In float64, one step after the other.
"""

import json
import pathlib
import sys

import nir
import numpy
import torch
from torch.nn import functional

rng = numpy.random.default_rng(7)


def sixteenths(*shape):
    return (rng.integers(-8, 9, shape) / 16).astype(numpy.float32)


def neurons(shape, threshold):
    full = numpy.full(shape, threshold, numpy.float32)
    return nir.IF(r=numpy.ones_like(full), v_threshold=full, v_reset=numpy.zeros_like(full))


def network():
    def conv(inputs, outputs, size, kernel, stride, groups=1):
        return nir.Conv2d(input_shape=None if groups > 1 else (size, size), weight=sixteenths(outputs, inputs // groups, kernel, kernel), stride=stride, padding=kernel // 2,
                          dilation=1, groups=groups, bias=sixteenths(outputs) / 4)
    nodes = {
        'input': nir.Input(input_type={'input': numpy.array([2, 8, 8])}),
        'conv1': conv(2, 4, 8, 3, 1), 'if1': neurons((4, 8, 8), 2.0),
        'conv2': conv(4, 4, 8, 3, 1, groups=2), 'shortcut': conv(4, 4, 8, 1, 1), 'if2': neurons((4, 8, 8), 1.0),
        'pool': nir.SumPool2d(kernel_size=numpy.array([2, 2]), stride=numpy.array([2, 2]), padding=numpy.array([0, 0])),
        'conv3': conv(4, 6, 4, 3, 2), 'if3': neurons((6, 2, 2), 4.0),
        'average': nir.AvgPool2d(kernel_size=numpy.array([2, 2]), stride=numpy.array([2, 2]), padding=numpy.array([0, 0])),
        'flatten': nir.Flatten(input_type={'input': numpy.array([6, 1, 1])}, start_dim=0, end_dim=-1),
        'affine': nir.Affine(weight=sixteenths(8, 6), bias=sixteenths(8)), 'if4': neurons((8,), 0.5),
        'linear': nir.Linear(weight=sixteenths(3, 8)), 'output': nir.Output(output_type={'output': numpy.array([3])}),
    }
    chain = ['input', 'conv1', 'if1', 'conv2', 'if2', 'pool', 'conv3', 'if3', 'average', 'flatten', 'affine', 'if4', 'linear', 'output']
    edges = [*zip(chain, chain[1:]), ('if1', 'shortcut'), ('shortcut', 'if2')]
    return nir.NIRGraph(nodes=nodes, edges=edges)


def tensor(values):
    return torch.from_numpy(numpy.array(values, dtype=numpy.float64))


def pair(values):
    return tuple(int(n) for n in numpy.atleast_1d(values))


class Simulation:
    def __init__(self, graph):
        self.graph = graph
        self.sources = {name: [a for a, b in graph.edges if b == name] for name in graph.nodes}
        self.order = self.sorted()
        self.potentials = {}

    def sorted(self):
        done, left = [], list(self.graph.nodes)
        while left:
            ready = [name for name in left if all(source in done for source in self.sources[name])]
            done += ready
            left = [name for name in left if name not in ready]
        return done

    def step(self, image):
        values = {}
        for name in self.order:
            node = self.graph.nodes[name]
            values[name] = image if isinstance(node, nir.Input) else self.value(name, node, sum(values[source] for source in self.sources[name]))
        return values

    def value(self, name, node, x):
        if isinstance(node, nir.Conv2d):
            return functional.conv2d(x[None], tensor(node.weight), tensor(node.bias), pair(node.stride), pair(node.padding), pair(node.dilation), int(node.groups))[0]
        if isinstance(node, nir.Affine):
            return tensor(node.weight) @ x + tensor(node.bias)
        if isinstance(node, nir.Linear):
            return tensor(node.weight) @ x
        if isinstance(node, (nir.SumPool2d, nir.AvgPool2d)):
            divisor = 1 if isinstance(node, nir.SumPool2d) else None
            return functional.avg_pool2d(x[None], pair(node.kernel_size), pair(node.stride), pair(node.padding), divisor_override=divisor)[0]
        if isinstance(node, nir.Scale):
            return tensor(node.scale) * x
        if isinstance(node, nir.Flatten):
            return x.flatten()
        if isinstance(node, nir.Output):
            return x
        if not isinstance(node, nir.IF):
            raise ValueError(f'{name} is {type(node).__name__}')
        threshold = tensor(node.v_threshold)
        start = tensor(node.metadata['initial_potential']) if 'initial_potential' in node.metadata else threshold / 2
        v = self.potentials.get(name, start) + tensor(node.r) * x
        spikes = (v >= threshold).double()
        self.potentials[name] = v - threshold * spikes
        return spikes


def run(graph, images, steps):
    """Spike counts of every IF and the summed current of the output, of each image."""
    results = []
    for image in images:
        simulation, counts = Simulation(graph), {}
        for _ in range(steps):
            for name, value in simulation.step(tensor(image)).items():
                if isinstance(graph.nodes[name], (nir.IF, nir.Output)):
                    counts[name] = counts.get(name, 0) + value
        results.append({name: count.flatten().tolist() for name, count in counts.items()})
    return results


def main():
    command, *paths = sys.argv[1:]
    if command == 'write':
        out = pathlib.Path(paths[0])
        out.mkdir(parents=True, exist_ok=True)
        graph, steps = network(), 12
        images = rng.integers(0, 2, (3, 2, 8, 8)).tolist()
        nir.write(out / 'peer.nir', graph, compression=None)
        (out / 'peer.json').write_text(json.dumps({'timeSteps': steps, 'images': images, 'results': run(graph, images, steps)}))
    else:
        given = json.loads(pathlib.Path(paths[1]).read_text())
        # The check of types takes a convolution in groups for one of fewer channels.
        graph = nir.read(paths[0], type_check='--unchecked' not in paths)
        print(json.dumps(run(graph, given['images'], given['timeSteps'])))


if __name__ == '__main__':
    main()
