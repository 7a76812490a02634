"""The page about GPUs says what the model of Winograd convolution does."""

from pathlib import Path

import edgeconv
from edgeconv.compiler.schedules.gpu import winograd_choice
from edgeconv.compiler.schedules.gpu.machine import GpuMachine, machine_of
from edgeconv.compiler.schedules.machine import FLOAT_BYTES
from edgeconv.compiler.schedules.winograd import Layer
from edgeconv.target import list_targets

PAGE = Path(edgeconv.__file__).parents[1] / "docs/add-a-gpu.md"
LAYERS = (
    *((16, 224), (32, 112), (64, 56), (128, 28), (256, 14), (512, 7)),
    *((128, 64), (256, 64)),
)


def gain(channels: int, size: int, machine: GpuMachine) -> float:
    """How many times as fast Winograd convolution is."""
    blocks = channels // machine.lanes
    layer = Layer(1, size, size, 1, 1, channels, blocks, machine.lanes, blocks, machine.lanes)
    times = (
        winograd_choice.time(layer, plan, machine, FLOAT_BYTES)
        for m in (2, 4)
        for plan in winograd_choice.candidates(layer, m, machine)
    )
    return winograd_choice.direct_time(layer, machine, FLOAT_BYTES) / min(times)


def table(targets: list[str], machines: list[GpuMachine]) -> str:
    rows = [["layer", *targets], ["---"] * (1 + len(targets))]
    for channels, size in LAYERS:
        gains = [f"{gain(channels, size, machine):.1f}" for machine in machines]
        rows.append([f"{channels} channels of {size}x{size}", *gains])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_table_is_that_of_the_model() -> None:
    text = PAGE.read_text()
    found = {target.name: machine_of(target) for target in list_targets()}
    machines = {name: m for name, m in found.items() if isinstance(m, GpuMachine)}
    head = next(line for line in text.splitlines() if line.startswith("| layer |"))
    names = head.strip("| ").split(" | ")[1:]
    assert sorted(names) == sorted(machines)
    assert table(names, [machines[name] for name in names]) in text
