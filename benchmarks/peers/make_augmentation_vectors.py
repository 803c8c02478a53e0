"""Writes test/vectors/augmentation.json: pictures, and digests of what torchvision on Pillow images makes of them."""

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import torchvision
import PIL
from PIL import Image
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import AutoAugment, AutoAugmentPolicy, _apply_op
from torchvision.transforms.functional import InterpolationMode

SIDE = 32
OUT = Path(__file__).parents[2] / "test" / "vectors" / "augmentation.json"


def picture(kind: str, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """[3, H, W]: `smooth` like a photograph, `flat` of few and dark values, `noise` of every value."""
    y, x = np.mgrid[0:height, 0:width] / (SIDE - 1)
    random = np.random.default_rng(3)
    if kind == "noise":
        return random.integers(0, 256, (3, height, width), dtype=np.uint8)
    if kind == "flat":
        return random.integers(40, 90, (3, height, width)).astype(np.uint8) // 7 * 7
    planes = [np.sin(3 * x + c) * np.cos(2 * y - c) * 110 + 128 + random.normal(0, 8, (height, width)) for c in range(3)]
    return np.clip(np.stack(planes), 0, 255).astype(np.uint8)


def to_pil(planes: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0))) if planes.shape[0] == 3 else Image.fromarray(planes[0])


def to_planes(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def encode(planes: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(planes).tobytes()).decode()


def digest(image: Image.Image) -> str:
    return hashlib.sha256(np.ascontiguousarray(to_planes(image)).tobytes()).hexdigest()[:16]


def operations(image: Image.Image) -> list[dict]:
    """Every operation of AutoAugment at three levels, in both directions where it has two."""
    space = AutoAugment(AutoAugmentPolicy.CIFAR10)._augmentation_space(10, (image.height, image.width))
    rows = []
    for name, (magnitudes, signed) in space.items():
        for level in (1, 6, 9) if magnitudes.ndim > 0 else (0,):
            for negate in (False, True) if signed else (False,):
                magnitude = float(magnitudes[level]) if magnitudes.ndim > 0 else 0.0
                result = _apply_op(image, name, -magnitude if negate else magnitude, InterpolationMode.NEAREST, None)
                rows.append({"operation": name, "level": level, "negate": negate, "result": digest(result)})
    return rows


def resized_crops(image: Image.Image) -> list[dict]:
    """Boxes (top, left, height, width) that grow; in the oblong picture also some taller than wide."""
    boxes = [(0, 0, image.height, image.width), (3, 5, 9, 11), (0, 2, 20, 7), (19, 31, 1, 1), (2, 0, 13, 32)]
    return [
        {"box": box, "result": digest(F.resized_crop(image, *box, [image.height, image.width], InterpolationMode.BILINEAR))}
        for box in boxes
    ]


def hues(image: Image.Image) -> list[dict]:
    return [{"turn": turn, "result": digest(F.adjust_hue(image, turn))} for turn in (-0.5, -0.1, -0.003, 0.04, 0.1, 0.31)]


pictures = {kind: picture(kind) for kind in ("smooth", "flat", "noise")}
pictures |= {"grey": pictures["smooth"][:1], "oblong": picture("smooth", 20, 48)}
document = {
    "made": f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}",
    "policy": [[[name, p, level or 0] for name, p, level in pair] for pair in AutoAugment(AutoAugmentPolicy.CIFAR10).policies],
    "pictures": {
        kind: {
            "shape": planes.shape,
            "pixels": encode(planes),
            "operations": operations(to_pil(planes)),
            "resizedCrops": resized_crops(to_pil(planes)),
            "hues": hues(to_pil(planes)),
        }
        for kind, planes in pictures.items()
    },
}
OUT.write_text(json.dumps(document) + "\n")
print(OUT, OUT.stat().st_size, "bytes")
