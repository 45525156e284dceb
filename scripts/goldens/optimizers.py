"""Parameters after a few steps of each optimizer, by torch.optim where it has the optimizer, else by the paper's formula
in plain torch. Writes Tests/MoruNNTests/Goldens/optimizers.json."""
import json
import pathlib

import torch

from deterministic import rounded, values

SHAPES = {"matrix": (5, 7), "tall": (9, 4), "vector": (6,)}
STEPS, DECAY, SCALE = 6, 0.1, 0.5


def start():
    return {name: torch.nn.Parameter(torch.from_numpy(values(name, shape, 2.0))) for name, shape in SHAPES.items()}


def gradient(name, step):
    return torch.from_numpy(values(f"{name}.gradient.{step}", SHAPES[name], 2.0)) * SCALE


def run(make):
    parameters = start()
    # as Moru's usual treatment: vectors do not decay
    groups = [
        {"params": [parameters["matrix"], parameters["tall"]], "weight_decay": DECAY},
        {"params": [parameters["vector"]], "weight_decay": 0.0},
    ]
    optimizer = make(groups)
    for step in range(STEPS):
        for name, parameter in parameters.items():
            parameter.grad = gradient(name, step)
        optimizer.step()
    return {name: rounded(parameter) for name, parameter in parameters.items()}


def lion(rate, beta1=0.9, beta2=0.99):
    """Chen et al., 2023, program 1."""
    parameters = start()
    momenta = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    with torch.no_grad():
        for step in range(STEPS):
            for name, parameter in parameters.items():
                g, m = gradient(name, step), momenta[name]
                update = torch.sign(beta1 * m + (1 - beta1) * g)
                decay = DECAY if parameter.dim() > 1 else 0.0
                parameter.sub_(rate * (update + decay * parameter))
                momenta[name] = beta2 * m + (1 - beta2) * g
    return {name: rounded(parameter) for name, parameter in parameters.items()}


def muon(rate, momentum=0.95):
    """torch.optim.Muon in f32, where torch orthogonalises in bf16; `muon_torch` is torch's own."""
    a, b, c = 3.4445, -4.7750, 2.0315
    parameters = {name: parameter for name, parameter in start().items() if parameter.dim() == 2}
    momenta = {name: torch.zeros(SHAPES[name]) for name in parameters}
    with torch.no_grad():
        for step in range(STEPS):
            for name, parameter in parameters.items():
                g = gradient(name, step)
                momenta[name].lerp_(g, 1 - momentum)
                x = g.lerp(momenta[name], momentum)
                is_tall = x.size(0) > x.size(1)
                x = x.T if is_tall else x
                x = x / x.norm()
                for _ in range(5):
                    gram = x @ x.T
                    x = a * x + (b * gram + c * gram @ gram) @ x
                x = x.T if is_tall else x
                parameter.mul_(1 - rate * DECAY)
                parameter.sub_(rate * 0.2 * max(parameter.shape) ** 0.5 * x)
    return {name: rounded(parameter) for name, parameter in parameters.items()}


def torch_muon(rate):
    parameters = {name: parameter for name, parameter in start().items() if parameter.dim() == 2}
    optimizer = torch.optim.Muon(
        parameters.values(), lr=rate, weight_decay=DECAY, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for step in range(STEPS):
        for name, parameter in parameters.items():
            parameter.grad = gradient(name, step)
        optimizer.step()
    return {name: rounded(parameter) for name, parameter in parameters.items()}


result = {
    "steps": STEPS, "weight_decay": DECAY, "gradient_scale": SCALE,
    "adamw": run(lambda groups: torch.optim.AdamW(groups, lr=0.02, betas=(0.9, 0.98))),
    "adafactor": run(lambda groups: torch.optim.Adafactor(groups, lr=0.02)),
    "sgd": run(lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.9)),
    "nesterov": run(lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.9, nesterov=True)),
    "plain": run(lambda groups: torch.optim.SGD(groups, lr=0.02)),
    "lion": lion(0.02), "muon": muon(0.02), "muon_torch": torch_muon(0.02),
}
folder = pathlib.Path(__file__).resolve().parents[2] / "Tests/MoruNNTests/Goldens"
folder.mkdir(exist_ok=True)
(folder / "optimizers.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
