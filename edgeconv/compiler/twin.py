"""The emulation twin of a GPU's artifact: the same plan and kernels, host code for this machine.

It is made from the artifact alone. Its kernels run on this machine's OpenCL driver; what the
target's processor computes is compiled for this one from `cpu_kernels.json`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from edgeconv.artifact import CPU_FUNCTIONS, OPENCL_SOURCES, Artifact, weights_sha256
from edgeconv.compiler.link import Emit, link, runtime_version
from edgeconv.files import cache_dir, recall, trim_at_times, write_atomic
from edgeconv.target import load_target

# Vectors of halves for drivers that lack them, under the name that clang, of which nearly all are
# made, has for halves: it rounds after every operation, whatever the processor calculates in.
_HALF_VECTORS = """\
#ifndef cl_khr_fp16
typedef __fp16 half4 __attribute__((ext_vector_type(4)));
float4 __attribute__((overloadable)) convert_float4(half4 v)
{
    return __builtin_convertvector(v, float4);
}
half4 __attribute__((overloadable)) convert_half4(float4 v)
{
    return __builtin_convertvector(v, half4);
}
half4 __attribute__((overloadable)) read_imageh(read_only image1d_buffer_t image, int texel)
{
    return convert_half4(read_imagef(image, texel));
}
#endif
"""


def twin(artifact: Artifact) -> Artifact:
    """Return the artifact with a runner for this machine.

    Runners are kept in the user's cache. Raises ToolchainError where the linker or, for steps of
    the CPU, the compiler is missing.
    """
    key = hashlib.sha256(f"{artifact.digest} {runtime_version()}".encode()).hexdigest()
    kept = cache_dir("twins") / key
    try:
        runner = recall(kept)
    except OSError:
        runner = _link(artifact)
        write_atomic(kept, runner, 0o755)
        trim_at_times(kept.parent)
    return artifact.with_entry("runner", runner)


def _link(artifact: Artifact) -> bytes:
    manifest = artifact.manifest
    here = replace(load_target("host"), name=manifest.target.name, gpu=manifest.target.gpu)
    objects: dict[str, bytes] = {}
    scratch = 0
    if CPU_FUNCTIONS in artifact.entries:
        from edgeconv.compiler.codegen import compile_for_cpu

        functions = json.loads(artifact.entries[CPU_FUNCTIONS])
        kernels = compile_for_cpu(functions, here)
        objects = {kernel.symbol: kernel.object_file for kernel in kernels}
        scratch = max(kernel.scratch_bytes for kernel in kernels)
    halves = [_HALF_VECTORS] if artifact.plan.half_runs else []
    linked = link(
        replace(artifact.plan, scratch_bytes=scratch),
        model=manifest.model.name,
        target=here,
        kernels=objects,
        weights_sha256=weights_sha256(artifact.entries["weights.bin"]),
        golden_cases=len(manifest.golden),
        emit=Emit.EXE,
        opencl_sources=[*halves, artifact.entries[OPENCL_SOURCES].decode()],
    )
    return linked["runner"]
