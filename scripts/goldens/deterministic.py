"""Numbers that the tests rebuild from a name: the same formula as Tests/MoruTestKit/DeterministicWeights.swift."""
import numpy as np


def fnv1a64(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def values(name, shape, scale=1.0):
    """Evenly spread over -scale/2 ..< scale/2: splitmix64 of hash(name) ^ index, its top 24 bits."""
    count = int(np.prod(shape)) if len(shape) else 1
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) ^ np.uint64(fnv1a64(name))
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return ((unit - 0.5) * scale).astype(np.float32).reshape(shape)


def model_weight(name, shape):
    """A model's parameter: around 1 for norms, small around 0 for biases, spread over +-0.2 for matrices."""
    if len(shape) == 1 and "bias" not in name:
        return values(name, shape, 0.4) + np.float32(1)
    return values(name, shape, 0.4)


def fill(model):
    """Gives every parameter of a torch model its deterministic value."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(model_weight(name, tuple(parameter.shape))))


def rounded(array, digits=7):
    """A nested list of floats with few digits, so that the files stay small."""
    import torch

    if isinstance(array, torch.Tensor):
        array = array.detach().numpy()
    return [float(f"{x:.{digits}g}") for x in np.asarray(array).reshape(-1).tolist()]
