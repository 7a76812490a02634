"""Relax to Relax, one file per pass."""

from edgeconv.compiler.passes.fold_scale_shift import fold_scale_shift
from edgeconv.compiler.passes.free_operands import free_operands
from edgeconv.compiler.passes.fuse import fuse
from edgeconv.compiler.passes.half_storage import half_storage
from edgeconv.compiler.passes.half_sums import half_sums
from edgeconv.compiler.passes.layout import blocked_layout
from edgeconv.compiler.passes.legalize import ALIASING, legalize
from edgeconv.compiler.passes.merge_small import merge_small
from edgeconv.compiler.passes.own_outputs import own_outputs
from edgeconv.compiler.passes.rewriting import CALL_TIR
from edgeconv.compiler.passes.share_memory import pointer_offset, share_memory
from edgeconv.compiler.passes.split_kernels import split_kernels
from edgeconv.compiler.passes.sum_pixels import sum_pixels

__all__ = [
    "ALIASING",
    "CALL_TIR",
    "blocked_layout",
    "fold_scale_shift",
    "free_operands",
    "fuse",
    "half_storage",
    "half_sums",
    "legalize",
    "merge_small",
    "own_outputs",
    "pointer_offset",
    "share_memory",
    "split_kernels",
    "sum_pixels",
]
