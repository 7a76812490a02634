"""What a device's driver says of it, asked through an imitation of `clGetDeviceInfo`."""

import ctypes
import struct
from typing import Any

import pytest

from edgeconv import opencl

# By CL_DEVICE_... numbers: 4 bytes each but for the sizes.
ADRENO = {
    0x1002: struct.pack("I", 2),  # MAX_COMPUTE_UNITS
    0x1004: struct.pack("Q", 1024),  # MAX_WORK_GROUP_SIZE
    0x1016: struct.pack("I", 1),  # IMAGE_SUPPORT
    0x1022: struct.pack("I", 1),  # LOCAL_MEM_TYPE: CL_LOCAL
    0x1023: struct.pack("Q", 32 << 10),  # LOCAL_MEM_SIZE
    0x1030: b"cl_khr_fp16_not cl_khr_fp16 cl_qcom_ion_host_ptr\0",  # EXTENSIONS
    0x1035: struct.pack("I", 1),  # HOST_UNIFIED_MEMORY
    0x1040: struct.pack("Q", 1 << 27),  # IMAGE_MAX_BUFFER_SIZE
}


def limits(answers: dict[int, bytes]) -> opencl.DeviceLimits:
    def info(_device: Any, what: Any, room: Any, to: Any, _needed: None) -> int:
        answer = answers.get(what.value)
        if answer is None or len(answer) > room.value:
            return -30  # CL_INVALID_VALUE
        ctypes.memmove(to, answer, len(answer))
        return 0

    return opencl._limits(info, ctypes.c_void_p())


def test_all_of_them_are_read() -> None:
    wanted = opencl.DeviceLimits(1024, 32, 2, 1 << 27, half_arithmetic=True, unified_memory=True)
    assert limits(ADRENO) == wanted


@pytest.mark.parametrize(
    ("what", "answer", "field"),
    [
        (0x1022, struct.pack("I", 2), "local_kib"),  # local memory lies in global memory
        (0x1016, struct.pack("I", 0), "image_texels"),  # no images, whatever their size
        (0x1030, b"cl_khr_fp16_not\0", "half_arithmetic"),
        (0x1035, struct.pack("I", 0), "unified_memory"),
    ],
)
def test_what_a_device_lacks_counts_as_nothing(what: int, answer: bytes, field: str) -> None:
    assert getattr(limits(ADRENO), field)
    assert not getattr(limits(ADRENO | {what: answer}), field)


def test_what_a_driver_does_not_know_counts_as_nothing() -> None:
    assert limits({}) == opencl.DeviceLimits(0, 0, 0, 0, False, False)
