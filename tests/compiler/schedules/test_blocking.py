"""Blocking of matrix products, by the analytic model alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.compiler.schedules.cpu.blocking import Tiles, choose_blocking
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, Machine
from edgeconv.target import load_target

ARM, X86 = Machine.of(load_target("rasp4")), Machine(16, 32, False, 48 * 1024, 2 * 1024 * 1024)
FAR = replace(X86, l3_bytes=256 << 20)
SIZES = st.integers(1, 120)


@given(
    tiles=st.builds(
        Tiles,
        steps=SIZES,
        panels=SIZES,
        depth=st.integers(1, 1200),
        columns=st.integers(1, 28),
        rows=st.sampled_from([4, 12, 16, 48]),
    ),
    granule=st.sampled_from([4, 16, 64]),
    machine=st.sampled_from([ARM, X86, FAR]),
)
def test_blocks_divide_the_product(tiles: Tiles, granule: int, machine: Machine) -> None:
    blocking = choose_blocking(tiles, granule, machine)
    assert tiles.steps % blocking.steps == 0
    assert tiles.panels % blocking.panels == 0
    assert tiles.depth % blocking.depth == 0
    assert blocking.depth % granule == 0 or blocking.depth == tiles.depth


@given(steps=SIZES, panels=SIZES, machine=st.sampled_from([ARM, X86]))
def test_a_narrower_last_tile_has_others_before_it(steps, panels, machine) -> None:
    tiles = Tiles(steps, panels, depth=64, columns=6, rows=16, ragged=True)
    blocking = choose_blocking(tiles, 16, machine)
    assert 1 <= blocking.steps <= steps
    assert blocking.steps > 1 or steps == 1
    assert tiles.panels % blocking.panels == 0


def test_long_sums_run_in_parts_whose_operands_fit_the_first_cache() -> None:
    tiles = Tiles(steps=7, panels=20, depth=960, columns=7, rows=8)
    blocking = choose_blocking(tiles, 16, ARM)
    assert blocking.depth < tiles.depth
    assert blocking.depth * (tiles.columns + tiles.rows) * FLOAT_BYTES <= ARM.l1_bytes // 2


def test_weights_that_are_asked_for_ahead_need_no_parts() -> None:
    tiles = Tiles(steps=7, panels=64, depth=1024, columns=7, rows=32)
    assert choose_blocking(tiles, 64, X86).depth < choose_blocking(tiles, 64, FAR).depth == 1024


@pytest.mark.parametrize("machine", [ARM, X86])
def test_short_sums_run_at_once(machine: Machine) -> None:
    tiles = Tiles(steps=448, panels=2, depth=24, columns=7, rows=12)
    assert choose_blocking(tiles, 16, machine).depth == tiles.depth


def test_every_core_has_a_task() -> None:
    tiles = Tiles(steps=7, panels=20, depth=320, columns=7, rows=8)
    blocking = choose_blocking(tiles, 16, ARM)
    assert (tiles.steps // blocking.steps) * (tiles.panels // blocking.panels) >= 4
