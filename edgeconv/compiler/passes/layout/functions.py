"""Functions that the importer wrote in TIR, of which some have a way of their own."""

from __future__ import annotations

import tvm
from tvm import relax

from edgeconv.compiler.passes.layout import grid_sampling, resampling
from edgeconv.compiler.passes.layout.convolutions import deformable
from edgeconv.compiler.passes.layout.forms import Forms


def function(forms: Forms, var: relax.Var, call: tvm.ir.Call) -> bool:
    """Emit a function; return False where it is left to the plain layout."""
    ways = deformable.columns, resampling.resample, grid_sampling.sample
    return any(way(forms, var, call) for way in ways)
