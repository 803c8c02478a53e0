"""Small pictures of every kind and what torchvision makes of them: test/vectors/pictures.json.

python make_picture_vectors.py; needs torch, torchvision, Pillow, numpy, scipy (requirements.txt, scipy).
"""
import base64
import io
import json
import os

import numpy as np
import scipy.io
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

RESIZE, CROP = 32, 28
rng = np.random.default_rng(0)


def scene(width, height, channels=3):
    y, x = np.mgrid[0:height, 0:width] / min(width, height)
    planes = [127 + 90 * np.sin(5 * x + 3 * c + 7 * y * (c + 1)) + 30 * np.cos(23 * y - 9 * x) for c in range(channels)]
    noise = rng.normal(0, 4, (height, width, channels))
    return np.clip(np.stack(planes, axis=-1) + noise, 0, 255).astype(np.uint8)


def encoded(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


rgb = Image.fromarray(scene(90, 61))
pictures = {
    'RGB JPEG, scaled down': encoded(rgb, 'JPEG', quality=92),
    'RGB JPEG, scaled down 7 times': encoded(Image.fromarray(scene(340, 225)), 'JPEG', quality=80),
    'RGB JPEG, high, an odd margin': encoded(Image.fromarray(scene(45, 98)), 'JPEG', quality=92),
    'RGB JPEG, enlarged': encoded(Image.fromarray(scene(25, 19)), 'JPEG', quality=95),
    'RGB JPEG, short side as wanted': encoded(Image.fromarray(scene(47, 32)), 'JPEG', quality=92),
    'RGB JPEG with an EXIF tag, which torchvision does not follow': encoded(rgb, 'JPEG', quality=92, exif=exif(6)),
    'grey JPEG': encoded(Image.fromarray(scene(80, 70, 1)[:, :, 0]), 'JPEG', quality=92),
    'CMYK JPEG': encoded(Image.fromarray(scene(70, 50, 4), 'CMYK'), 'JPEG', quality=92),
    'PNG with alpha': encoded(Image.fromarray(scene(60, 60, 4), 'RGBA'), 'PNG'),
    'PNG with a palette': encoded(rgb.quantize(32), 'PNG'),
}


def expected(data, interpolation):
    transform = Compose([Resize(RESIZE, interpolation=interpolation), CenterCrop(CROP)])
    pixels = np.asarray(transform(Image.open(io.BytesIO(data)).convert('RGB')))
    return base64.b64encode(np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()).decode()


def text(data):
    return base64.b64encode(data).decode()


def devkit():
    """Like the devkit's meta.mat, with three classes and one parent."""
    fields = [('ILSVRC2012_ID', 'O'), ('WNID', 'O'), ('words', 'O'), ('num_children', 'O')]
    rows = [(1, 'n02119789', 'kit fox', 0), (2, 'n02100735', 'English setter', 0), (300, 'n01440764', 'tench', 0), (1001, 'n00001740', 'entity', 3)]
    # MATLAB keeps doubles in the smallest type that holds them: both kinds are there.
    def number(value):
        return np.array([[value]], dtype=np.uint16 if value == 300 else np.float64)

    synsets = np.array([tuple(number(v) if isinstance(v, int) else v for v in row) for row in rows], dtype=fields).reshape(-1, 1)
    out = io.BytesIO()
    scipy.io.savemat(out, {'synsets': synsets}, do_compression=True)
    return text(out.getvalue())


vectors = {
    'resize': RESIZE,
    'crop': CROP,
    'pictures': [
        {
            'name': name,
            'file': text(data),
            'bilinear': expected(data, InterpolationMode.BILINEAR),
            'bicubic': expected(data, InterpolationMode.BICUBIC),
        }
        for name, data in pictures.items()
    ],
    'meta.mat': devkit(),
}
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, '../../test/vectors/pictures.json'), 'w') as f:
    json.dump(vectors, f, indent=1)
    f.write('\n')
