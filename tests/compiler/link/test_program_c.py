import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from c_programs import WARNINGS, plan

from edgeconv.compiler.link.program_c import c_identifier, program_source
from edgeconv.compiler.link.runtime_objects import RUNTIME
from edgeconv.errors import EdgeconvError
from edgeconv.plan import Plan, Step, Tensor

NAME = 'a "quoted" \\ back??/slash, naïve\n%s'


def source(of: Plan, model: str = "net") -> str:
    return program_source(of, model=model, target="host", weights_sha256=bytes(32), golden_cases=1)


def test_equal_plans_give_equal_text() -> None:
    assert source(plan()) == source(Plan.from_json(json.loads(json.dumps(plan().to_json()))))
    assert source(plan()) != source(plan(2))


def test_names_and_scalars_reach_the_program_unchanged(tmp_path: Path) -> None:
    odd = Plan(
        inputs=(),
        outputs=(Tensor(NAME, (), "float64", 2.5e-7),),
        buffers=(),
        steps=(),
        arena_bytes=5_000_000_000,
        arena_lower_bound=0,
        scratch_bytes=0,
        weights_bytes=0,
    )
    (tmp_path / "program.c").write_text(source(odd, NAME))
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "program.h"\nint main(void) {\n'
        "const ec_program *p = edgeconv_program();\n"
        'printf("%s|%s|%u %u|%llu|%u %.17g", p->model, p->outputs[0].name,\n'
        "p->outputs[0].rank, p->outputs[0].element_bytes, (unsigned long long)p->arena_bytes,\n"
        "p->input_count + p->step_count, p->outputs[0].tolerance);\n}\n"
    )
    flags = [*WARNINGS, f"-I{RUNTIME}/include", f"-I{RUNTIME}/src", "-DEC_ENTRY=edgeconv_program"]
    command = ["gcc", *flags, "program.c", "main.c", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout.decode()
    assert printed == f"{NAME}|{NAME}|0 8|5000000000|0 2.4999999999999999e-07"


def test_identifiers() -> None:
    assert c_identifier("my net-1.5/é") == "my_net_1_5__"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": "no symbol"}, "'no symbol' is not a C identifier"),
        ({"kernel": "k_add", "inputs": (0,)}, "'k_add' is called with different argument counts"),
    ],
)
def test_kernels_that_c_cannot_call(change: dict, message: str) -> None:
    good = plan()
    bad: Step = replace(good.steps[1], **change)
    with pytest.raises(EdgeconvError, match=message):
        source(replace(good, steps=(good.steps[0], bad)))
