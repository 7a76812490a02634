"""The kernel of docs/add-a-schedule.md, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te

from edgeconv.compiler.schedules import registry
from edgeconv.compiler.schedules.machine import Machine
from edgeconv.target import load_target

DOC = Path(__file__).parents[3] / "docs" / "add-a-schedule.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names that the page's code defines."""
    names: dict[str, Any] = {}
    code = "\n\n".join(re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.M | re.S))
    exec(compile(code, DOC.name, "exec"), names)
    return names


@pytest.mark.parametrize("shape", [(2, 5, 6, 32), (1, 3, 1, 7), (2, 4, 30), (1, 40, 24, 48)])
def test_the_rule_computes_what_the_page_says(
    shape: tuple[int, ...], page: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.RULES, page["ANCHOR"], page["schedule"])
    data = te.placeholder(shape, name="x")
    function = te.create_prim_func([data, page["pixel_norm"](data, 1e-8)])
    module = registry.apply_rule(function, Machine.of(load_target("rasp4")))
    assert 'scope="local"' in module.script()
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    y = tvm.runtime.tensor(np.zeros_like(x))
    tvm.tirx.build(module, target="llvm")["main"](tvm.runtime.tensor(x), y)
    want = x / np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-5)
