"""Pictures through torchvision on Pillow: how many a second, and their pixels.

python torchvision_pixels.py NAMES.txt OUT.bin --resize 256 --crop 224 --interpolation bilinear --workers 2 --rounds 3
NAMES.txt has a path a line. OUT.bin gets bytes, [N, H, W, C]. Prints one line of JSON.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

parser = argparse.ArgumentParser()
parser.add_argument('names')
parser.add_argument('out')
parser.add_argument('--resize', type=int, default=256)
parser.add_argument('--crop', type=int, default=224)
parser.add_argument('--interpolation', default='bilinear')
parser.add_argument('--workers', type=int, default=2)
parser.add_argument('--rounds', type=int, default=3)
options = parser.parse_args()
transform = Compose([Resize(options.resize, interpolation=InterpolationMode(options.interpolation)), CenterCrop(options.crop)])


class Pictures(Dataset):
    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with Image.open(self.paths[index]) as picture:
            return torch.from_numpy(np.asarray(transform(picture.convert('RGB'))).copy())


if __name__ == '__main__':
    pictures = Pictures(Path(options.names).read_text().splitlines())
    seconds = []
    for _ in range(options.rounds):
        began = time.perf_counter()
        with open(options.out, 'wb') as out:
            for batch in DataLoader(pictures, batch_size=32, num_workers=options.workers):
                out.write(batch.numpy().tobytes())
        seconds.append(time.perf_counter() - began)
    versions = {'torchvision': torchvision.__version__, 'pillow': PIL.__version__}
    print(json.dumps({'images': len(pictures), 'seconds': seconds, **versions}))
