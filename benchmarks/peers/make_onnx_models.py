"""Writes the ONNX files that test/import reads: networks of random weights, exported by PyTorch's two exporters, quantised
by ONNX Runtime, in half precision, with weights in a second file. make_keras_model.py writes one of Keras beside them.

    python make_onnx_models.py OUT            narrow ones, as they are in test/vectors/onnx
    python make_onnx_models.py OUT --full     torchvision's, in full width
"""

import argparse
import pathlib
import warnings

import numpy
import onnx
import torch
import torchvision
from onnxruntime import quantization
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vgg import VGG, make_layers

warnings.filterwarnings('ignore')


class NarrowResNet(ResNet):
    """torchvision's ResNet with `width` channels where it has 64."""

    def __init__(self, block, layers, width, classes=10):
        nn.Module.__init__(self)
        self._norm_layer, self.inplanes, self.dilation, self.groups, self.base_width = nn.BatchNorm2d, width, 1, 1, 64
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            self._make_layer(block, width << stage, count, 2 if stage else 1) for stage, count in enumerate(layers))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear((width << 3) * block.expansion, classes)


def narrow_vgg():
    plan = [2, 2, 'M', 4, 4, 'M', 6, 6, 6, 'M', 8, 8, 8, 'M', 8, 8, 8, 'M']
    net = VGG(make_layers(plan, batch_norm=True), init_weights=False)
    net.avgpool = nn.Identity()
    net.classifier = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 10))
    return net


def mobilenet(width, classes, repeats):
    """MobileNetV1: depthwise separable convolutions, ReLU6; the original repeats its widest map 5 times."""
    def conv(a, b, kernel, stride, groups=1):
        return [nn.Conv2d(a, b, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(b), nn.ReLU6()]
    channels, layers = width, conv(3, width, 3, 2)
    for factor, stride in [(2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2)] + [(16, 1)] * repeats + [(32, 2), (32, 1)]:
        layers += conv(channels, channels, 3, stride, channels) + conv(channels, width * factor, 1, 1)
        channels = width * factor
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class Mixed(nn.Module):
    """What the others have not: fire modules, pooling with ceil_mode, dilation, groups, option-A shortcuts, padded averages."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2)
        self.squeeze, self.left, self.right = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 3, padding=1)
        self.dilated = nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=3)
        self.down = nn.Conv2d(12, 16, 3, 2, 1)
        self.norm, self.last = nn.BatchNorm1d(16), nn.Linear(16, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.stem(x).relu(), 3, 2, ceil_mode=True)
        x = self.squeeze(x).relu()
        x = torch.cat([self.left(x).relu(), self.right(x).relu()], 1)
        x = nn.functional.hardtanh(self.dilated(x), 0, 4)
        shortcut = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        x = (self.down(x) + shortcut).relu()
        x = nn.functional.avg_pool2d(x, 3, 2, 1)
        x = self.norm(x.mean((2, 3)))
        return self.last(x.clamp(min=0)).softmax(1)


class FloorOf(torch.autograd.Function):
    """QCFS's floor with a straight-through gradient, as Bu et al. write it."""

    @staticmethod
    def forward(_, x):
        return x.floor()

    @staticmethod
    def symbolic(g, x):
        return g.op('Floor', x)

    @staticmethod
    def backward(_, gradient):
        return gradient


class Qcfs(nn.Module):
    """Clip-floor-shift. `early`: floor and then clamp, as the first version of the authors' code has it."""

    def __init__(self, threshold, levels, early=False):
        super().__init__()
        self.threshold, self.levels, self.early = nn.Parameter(torch.tensor([threshold])), levels, early

    def forward(self, x):
        x = x / self.threshold
        if self.early:
            return torch.clamp(FloorOf.apply(x * self.levels + 0.5) / self.levels, 0, 1) * self.threshold
        return FloorOf.apply(torch.clamp(x, 0, 1) * self.levels + 0.5) / self.levels * self.threshold


class Lsq(nn.Module):
    """Learned step size, with the gradient scaled and passed through by detach; `channels` steps or one."""

    def __init__(self, step, levels, channels=1):
        super().__init__()
        spread = torch.linspace(0.7, 1.3, channels) if channels > 1 else torch.ones(1)
        self.step, self.levels = nn.Parameter((step * spread).view(1, -1, 1, 1)), levels

    def forward(self, x):
        scaled = self.step * 0.25
        step = (self.step - scaled).detach() + scaled
        u = torch.clamp(x / step, 0, self.levels)
        return ((u.round() - u).detach() + u) * step


def quantised(activation):
    def block(a, b, stride):
        return [nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), activation(b)]
    return nn.Sequential(*block(3, 6, 1), *block(6, 8, 2), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8 * 4, 10))


def settle(net, size):
    """Statistics and gains of a trained network, instead of those that change nothing."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
            module.reset_running_stats()
            module.weight.data.uniform_(0.8, 1.4, generator=generator)
            module.bias.data.normal_(0.1, 0.2, generator=generator)
    net.train()
    with torch.no_grad():
        for _ in range(12):
            net(torch.randn(32 if size <= 64 else 4, 3, size, size, generator=generator))
    return net.eval()


def export(net, size, path, dynamo):
    example = torch.zeros(2, 3, size, size)
    names = {'input_names': ['input'], 'output_names': ['logits']}
    with torch.no_grad():
        if dynamo:
            batch = torch.export.Dim('batch', min=1)
            torch.onnx.export(net, (example,), path, dynamo=True, dynamic_shapes=({0: batch},), external_data=False, verbose=False, **names)
        else:
            torch.onnx.export(net, (example,), path, dynamo=False, dynamic_axes={'input': {0: 'N'}, 'logits': {0: 'N'}}, **names)
    slim(path)


def slim(path):
    """Leaves out the stack traces and source lines that an exporter adds to every node."""
    model = onnx.load(path)
    for part in [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.value_info, *model.graph.initializer]:
        if hasattr(part, 'metadata_props'):
            del part.metadata_props[:]
        part.doc_string = ''
    del model.graph.value_info[:]
    onnx.save(model, path)


def one(net, size, out, name, dynamo):
    export(settle(net, size), size, str(out / f'{name}{"-dynamo" if dynamo else ""}.onnx'), dynamo)


def both(net, size, out, name):
    one(net, size, out, name, dynamo=False)
    one(net, size, out, name, dynamo=True)


class Calibration(quantization.CalibrationDataReader):
    def __init__(self, size):
        generator = numpy.random.default_rng(2)
        self.batches = iter([{'input': generator.standard_normal((8, 3, size, size)).astype(numpy.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.batches, None)


def write_quantised(out):
    """ONNX Runtime's static quantisation of weights and of what Relu gives; float16; weights beside the file."""
    net = nn.Sequential(nn.Conv2d(3, 6, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
    export(net.eval(), 16, str(out / 'plain.onnx'), dynamo=False)
    quantization.quantize_static(
        str(out / 'plain.onnx'), str(out / 'qdq.onnx'), Calibration(16), per_channel=True, weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=['Conv', 'Gemm', 'MaxPool', 'Relu'], quant_format=quantization.QuantFormat.QDQ)
    half = onnx.load(out / 'plain.onnx')
    for tensor in half.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(numpy.float16), tensor.name))
    for value in [*half.graph.input, *half.graph.output]:
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(half, out / 'half.onnx')
    onnx.save(onnx.load(out / 'plain.onnx'), out / 'external.onnx', save_as_external_data=True, location='external.bin', size_threshold=0)
    (out / 'plain.onnx').unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=pathlib.Path)
    parser.add_argument('--full', action='store_true')
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    if arguments.full:
        models = torchvision.models
        for name in ['resnet18', 'resnet34', 'resnet50', 'vgg16_bn']:
            both(getattr(models, name)(), 224, out, name)
        both(mobilenet(32, 1000, 5), 224, out, 'mobilenet')
    else:
        both(NarrowResNet(BasicBlock, [2, 2, 2, 2], 1), 64, out, 'resnet18')
        one(NarrowResNet(Bottleneck, [1, 2, 2, 1], 1), 64, out, 'resnet50', dynamo=True)
        one(narrow_vgg(), 64, out, 'vgg16_bn', dynamo=True)
        one(mobilenet(1, 10, 1), 32, out, 'mobilenet', dynamo=True)
        one(Mixed(), 33, out, 'mixed', dynamo=False)
        one(quantised(lambda _: Qcfs(1.5, 4)), 16, out, 'qcfs', dynamo=True)
        one(quantised(lambda _: Qcfs(1.5, 8, early=True)), 16, out, 'qcfs-early', dynamo=False)
        one(quantised(lambda _: Lsq(0.4, 3)), 16, out, 'lsq', dynamo=False)
        one(quantised(lambda channels: Lsq(0.4, 3, channels)), 16, out, 'lsq-per-channel', dynamo=True)
        write_quantised(out)


if __name__ == '__main__':
    main()
