"""The emulation twin of a GPU's artifact, on this machine's OpenCL driver (PoCL)."""

import json
from dataclasses import replace

import c_programs
import numpy as np
import opencl_programs
import pytest

from edgeconv.artifact import CPU_FUNCTIONS, OPENCL_SOURCES, Artifact, Model
from edgeconv.bench import EMULATED, device_notes
from edgeconv.devices import open_device, open_session, twin
from edgeconv.errors import ArtifactError, DeviceError, UsageError
from edgeconv.opencl import DeviceLimits, OpenClDevice
from edgeconv.plan import NDRange, Plan
from edgeconv.target import load_target
from edgeconv.verify import verify


@pytest.fixture(autouse=True)
def driver(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's cache, of ours, lasts for all tests."""
    monkeypatch.setenv("POCL_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "pocl"))
    monkeypatch.setenv("EDGECONV_OPENCL_CACHE", str(tmp_path_factory.mktemp("cache")))


def artifact(plan: Plan | None = None, **entries: bytes) -> Artifact:
    """An artifact without any program, as one for Android without an NDK."""
    return Artifact.assemble(
        plan=opencl_programs.plan() if plan is None else plan,
        entries={
            OPENCL_SOURCES: opencl_programs.SOURCE.encode(),
            **c_programs.data_entries(),
            **entries,
        },
        model=Model("net", "made by hand", "0" * 64, parameters=19, macs=703),
        target=load_target("android-opencl"),
        tools={},
        golden=["zero", "one"],
    )


def test_a_twin_computes_what_the_artifact_says() -> None:
    session = open_session(artifact())
    assert (session.device.name, session.device.emulated) == ("opencl", True)
    assert "Portable Computing Language" in session.device.description
    case = c_programs.inputs(5)
    got = session.run(case)
    for name, want in c_programs.outputs(**case).items():
        np.testing.assert_array_equal(got[name], want, strict=True)
    values = session.step_values(case)
    np.testing.assert_array_equal(values[0, 0], case["a"] + case["b"])
    profile = session.profile(repeat=2)
    assert [step.name for step in profile.steps] == ["add_0", "scale_1", "relu_2"]
    assert all(ms > 0 for step in profile.steps for ms in step.ms)
    assert "Portable Computing Language" in profile.device


def test_verification_takes_the_twin_and_finds_a_wrong_kernel() -> None:
    assert verify(artifact()).passed
    wrong = opencl_programs.SOURCE.replace("a[i] + b[i]", "a[i] - b[i]").encode()
    report = verify(artifact(**{OPENCL_SOURCES: wrong}))
    assert not report.passed
    assert report.device == "opencl"


def test_a_kernel_that_does_not_build_is_named_with_the_drivers_words() -> None:
    broken = opencl_programs.SOURCE.replace("= a[i]", "= no_such_name").encode()
    with pytest.raises(DeviceError, match="no_such_name"):
        open_session(artifact(**{OPENCL_SOURCES: broken})).self_test()


def test_a_cpus_artifact_has_no_twin() -> None:
    with pytest.raises(UsageError, match="'host' has no GPU"):
        open_device("opencl", load_target("host"))


def test_without_a_driver_the_device_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin, "opencl_devices", list)
    with pytest.raises(DeviceError, match=r"no OpenCL device.*pocl-opencl-icd"):
        open_session(artifact())


def test_a_wrong_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECONV_OPENCL", "/no/such/library.so")
    with pytest.raises(DeviceError, match=r"EDGECONV_OPENCL: the library .*/no/such/library.so"):
        open_session(artifact())


@pytest.mark.parametrize("gpu", [True, False])
def test_only_a_processor_emulates(monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    limits = DeviceLimits(256, 32, 4, 65536, half_arithmetic=True, unified_memory=True)
    found = OpenClDevice("0:0", "A platform", "A device", "1.0", gpu, limits)
    monkeypatch.setattr(twin, "opencl_devices", lambda: [found])
    device = open_device("opencl", load_target("mali-g610"))
    assert device.emulated is not gpu
    assert device.description.startswith("A device (A platform, driver 1.0)")
    assert ("emulated" in device.description) is not gpu
    assert (EMULATED in device_notes(device, 1)) is not gpu


def test_the_device_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    target = load_target("mali-g610")
    for wanted in ("0:0", "portable computing"):
        monkeypatch.setenv("EDGECONV_OPENCL_DEVICE", wanted)
        assert "Portable" in open_device("opencl", target).description
    monkeypatch.setenv("EDGECONV_OPENCL_DEVICE", "Mali")
    with pytest.raises(DeviceError, match=r"there are: 0:0 .*Portable"):
        open_device("opencl", target)


def test_a_board_runs_its_own_programs() -> None:
    assert open_device(None, replace(load_target("mali-g610"), native=True)).name == "local"


def with_range(*sizes: tuple[int, ...]) -> Plan:
    plan = opencl_programs.plan()
    first, *rest = plan.steps
    return replace(plan, steps=(replace(first, ndrange=NDRange(*sizes)), *rest))  # type: ignore[arg-type]  # of any length


@pytest.mark.parametrize(
    ("plan", "entries", "problem"),
    [
        (with_range((64, 1), (64, 1)), {}, "has no 3 sizes"),
        (with_range((64, 1, 1), (0, 1, 1)), {}, "has no 3 sizes"),
        (with_range((100, 1, 1), (64, 1, 1)), {}, "no multiple of"),
        (opencl_programs.plan(on_gpu=("add",)), {}, "cpu_kernels.json: lacks kernel 'k_scale'"),
        (None, {OPENCL_SOURCES: b"// nothing\n"}, "kernels.cl: lacks kernel 'ec_k_add'"),
        (None, {CPU_FUNCTIONS: b"[]"}, "cpu_kernels.json: "),
    ],
)
def test_a_damaged_plan_is_refused(
    plan: Plan | None, entries: dict[str, bytes], problem: str
) -> None:
    with pytest.raises(ArtifactError, match=problem):
        artifact(plan, **entries)


def test_an_unreadable_function_is_refused() -> None:
    functions = {f"k_{name}": "{}" for name in ("scale", "relu_count")}
    sample = artifact(
        opencl_programs.plan(on_gpu=("add",)), **{CPU_FUNCTIONS: json.dumps(functions).encode()}
    )
    with pytest.raises(ArtifactError, match="'k_scale' is damaged or of another TVM"):
        open_session(sample)
