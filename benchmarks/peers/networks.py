"""The residual networks of noisefloor in PyTorch: same layers, same names of parameters and buffers."""

import torch
from torch import Tensor, nn


class StraightThroughFloor(torch.autograd.Function):
    """floor with gradient 1."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.floor()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


class Qcfs(nn.Module):
    """theta * floor(clip(z / theta, 0, 1) * L + 1/2) / L; the clip comes before the floor, so gradients end with it."""

    def __init__(self, levels: int = 4, threshold: float = 4.0):
        super().__init__()
        self.levels = levels
        self.threshold = nn.Parameter(torch.tensor(threshold))

    def scaled(self, z: Tensor) -> Tensor:
        """z in units of one level."""
        return z / self.threshold * self.levels

    def forward(self, z: Tensor) -> Tensor:
        u = torch.clamp(z / self.threshold, 0, 1)
        return StraightThroughFloor.apply(u * self.levels + 0.5) / self.levels * self.threshold


class Lsq(nn.Module):
    """s * floor(clip(z / s, 0, p) + 1/2); the gradient of s is divided by sqrt(batch * p)."""

    def __init__(self, levels: int = 3, scale: float = 2 / 3):
        super().__init__()
        self.levels = levels
        self.scale = nn.Parameter(torch.tensor(scale))

    def scaled(self, z: Tensor) -> Tensor:
        return z / self.scale

    def forward(self, z: Tensor) -> Tensor:
        damping = (len(z) * self.levels) ** -0.5
        s = self.scale.detach() + (self.scale - self.scale.detach()) * damping
        return StraightThroughFloor.apply(torch.clamp(z / s, 0, self.levels) + 0.5) * s


ACTIVATIONS = {"qcfs": Qcfs, "lsq": Lsq, "relu": nn.ReLU}


class ConvBn(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, activation=None):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=(kernel - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = activation() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class BasicBlock(nn.Module):
    """The two convolutions are children `1` and `2`; the residual is added before the second activation."""

    def __init__(self, in_channels: int, channels: int, stride: int, activation):
        super().__init__()
        projects = stride != 1 or in_channels != channels
        self.add_module("1", ConvBn(in_channels, channels, 3, stride, activation))
        self.add_module("2", ConvBn(channels, channels, 3, 1))
        self.shortcut = ConvBn(in_channels, channels, 1, stride) if projects else nn.Identity()
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        second = self.get_submodule("2")(self.get_submodule("1")(x))
        return self.act(second + self.shortcut(x))


class ResNet(nn.Module):
    """CIFAR stem: 3x3, stride 1, no pooling."""

    def __init__(self, widths: list[int], blocks: int, classes: int, activation):
        super().__init__()
        self.stem = ConvBn(3, widths[0], 3, 1, activation)
        channels = widths[0]
        self.stages = [f"stage{i + 1}" for i in range(len(widths))]
        for i, (name, width) in enumerate(zip(self.stages, widths)):
            stage = nn.Sequential()
            for block in range(blocks):
                stage.append(BasicBlock(channels, width, 2 if i > 0 and block == 0 else 1, activation))
                channels = width
            self.add_module(name, stage)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.fc(x.mean(dim=(2, 3)))


def build_network(name: str, activation: str, classes: int = 10) -> ResNet:
    """`resnet20` or `resnet18`, with `qcfs` or `lsq` at every activation site."""
    widths, blocks = {"resnet20": ([16, 32, 64], 3), "resnet18": ([64, 128, 256, 512], 2)}[name]
    return ResNet(widths, blocks, classes, ACTIVATIONS[activation])
