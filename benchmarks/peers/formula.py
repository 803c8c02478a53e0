"""Numbers that Python and TypeScript compute alike, so that no large array needs to be stored.

Twin of test/vectors/formula.ts. Element i of the tensor with key K is a 32-bit hash: fmix32 (the finaliser of
MurmurHash3) of fnv1a32(K) + i * 0x9e3779b9, modulo 2^32. Values are 16 bits of it, scaled and shifted by sums of a few
powers of two, so every one of them is exact in float32.
"""

import numpy as np

SAMPLES = 8
SMALL = 8
PROJECTIONS = 4


def fnv1a32(key: str) -> int:
    value = 0x811C9DC5
    for byte in key.encode("ascii"):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def hashes(key: str, count: int) -> np.ndarray:
    """uint32 [count]."""
    h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32(fnv1a32(key))
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def grid(key: str, count: int) -> np.ndarray:
    """float64 [count] in [-1, 1), multiples of 2^-15."""
    return (hashes(key, count) >> np.uint32(16)).astype(np.float64) / 32768 - 1


def initial_value(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Parameter, buffer or optimiser state `name` before the step, by its suffix."""
    v = grid(f"{seed}:{name}", int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return np.asarray(spread(v, name.rsplit(".", 1)[1]))


def spread(v: np.ndarray, suffix: str) -> np.ndarray:
    """From [-1, 1) to the range that suits the kind of tensor."""
    if suffix == "threshold":
        return 3 + v
    if suffix == "scale":
        return 9 / 16 + v * 3 / 16
    if suffix == "running_var":
        return 1 + v / 2
    if suffix in ("momentum", "moment1"):
        return v / 64
    if suffix == "moment2":
        return (1 + v / 2) / 2**20
    if suffix == "weight" and v.ndim > 1:
        return v / 2 ** half_log2(v[0].size)
    if suffix == "weight":
        return 1 + v / 4
    return v / 4


def half_log2(fan_in: int) -> int:
    """Smallest e with 4^e >= fan_in: v / 2^e then has a deviation near 1 / sqrt(3 fan_in)."""
    e = 0
    while 4**e < fan_in:
        e += 1
    return e


def initial_images(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return 2 * grid(f"{seed}:images", int(np.prod(shape))).reshape(shape)


def summarise(name: str, tensor: np.ndarray) -> dict:
    """What the vectors keep of a tensor: norm, 4 projections on vectors of signs, 8 elements (all of 8 or fewer)."""
    flat = tensor.reshape(-1).astype(np.float64)
    if flat.size <= SMALL:
        at = np.arange(flat.size)
    else:
        at = hashes(f"samples:{name}", SAMPLES) % np.uint32(flat.size)
    signs = (np.where(hashes(f"signs{k}:{name}", flat.size) >> np.uint32(31), -1.0, 1.0) for k in range(PROJECTIONS))
    return {
        "norm": rounded(np.linalg.norm(flat)),
        "projections": [rounded(flat @ sign) for sign in signs],
        "samples": [rounded(value) for value in flat[at]],
    }


def rounded(value: float) -> float:
    return float(f"{value:.9g}")
