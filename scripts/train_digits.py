"""Trains the variants of the zoo's `digits` network, and writes their weights to models/digits/.

.venv/bin/python scripts/train_digits.py [NAME...]      (default: all)

Everything is seeded: the same machine and PyTorch give the same weights.
"""

from __future__ import annotations

import runpy
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from edgeconv import digits
from edgeconv.nn import DynamicConv2d
from edgeconv.resources import resource_dir
from edgeconv.zoo import list_models, save_checkpoint

EPOCHS = 24
BATCH = 32
PEAK_RATE = 1e-2


def train(network: nn.Module, seed: int = 0) -> None:
    """Train on the training part, in place."""
    images, labels = (torch.from_numpy(array) for array in digits.load("train"))
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, steps)
    network.train()
    for _ in range(EPOCHS):
        order = torch.from_numpy(rng.permutation(len(images)))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            loss = F.cross_entropy(network(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        for layer in network.modules():
            if isinstance(layer, DynamicConv2d):
                layer.anneal()
    network.eval()


def accuracy(network: nn.Module) -> float:
    """Return the share of the test part's pictures that the network reads right."""
    images, labels = (torch.from_numpy(array) for array in digits.load("test"))
    with torch.no_grad():
        return float((network(images).argmax(1) == labels).double().mean())


def main(names: list[str]) -> None:
    """Train, save, and print a line for each network."""
    torch.set_num_threads(1)
    folder = resource_dir("models")
    untrained = runpy.run_path(str(folder / "digits.py"))["untrained"]
    for name in names or list(list_models()["digits"].variants):
        torch.manual_seed(0)
        network = untrained(name)
        started = time.process_time()
        train(network)
        seconds = time.process_time() - started
        path = folder / "digits" / f"{name}.pt"
        save_checkpoint(path, "digits", name, network)
        print(
            f"{name:20} {seconds:5.1f} s of one core   test accuracy {accuracy(network):.4f}   "
            f"{sum(p.numel() for p in network.parameters()):6,} parameters   "
            f"{path.stat().st_size:7,} bytes",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
