"""Which OpenCL devices this machine has; needs the standard library only."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeconv.errors import DeviceError

# What `clGet*Info` is asked for (cl.h).
_PLATFORM_NAME = 0x0902
_DEVICE_TYPE, _DEVICE_NAME, _DRIVER_VERSION = 0x1000, 0x102B, 0x102D
_MAX_COMPUTE_UNITS, _MAX_WORK_GROUP_SIZE = 0x1002, 0x1004
_LOCAL_MEM_TYPE, _LOCAL_MEM_SIZE = 0x1022, 0x1023
_IMAGE_SUPPORT, _IMAGE_MAX_BUFFER_SIZE = 0x1016, 0x1040
_EXTENSIONS, _HOST_UNIFIED_MEMORY = 0x1030, 0x1035
_DEVICE_TYPE_ALL, _DEVICE_TYPE_GPU = 0xFFFFFFFF, 1 << 2
_DEDICATED = 1  # of CL_DEVICE_LOCAL_MEM_TYPE
_MOST = 16  # platforms, devices of a platform
_TEXT_BYTES = 1 << 14
_TIMEOUT_S = 60.0
# How the process that asks the drivers ends where $EDGECONV_OPENCL cannot be loaded.
_NOT_LOADED = 3
_LIBRARIES = ("libOpenCL.so.1", "libOpenCL.so", "libmali.so.1", "libmali.so")
ADVICE = (
    "Install the driver of this machine's GPU, or `apt-get install pocl-opencl-icd "
    "ocl-icd-libopencl1`, which runs kernels on the processor; EDGECONV_OPENCL names a library in "
    "another place."
)


@dataclass(frozen=True)
class DeviceLimits:
    """What of a device a target file's section `[gpu]` says, under the same names.

    Attributes:
        max_workgroup: most work-items of a work-group.
        local_kib: local memory of a work-group, KiB; 0 where it lies in global memory.
        compute_units: cores.
        image_texels: most texels of an image that a buffer is read through; 0 without images.
        half_arithmetic: whether the driver has `cl_khr_fp16`.
        unified_memory: whether it shares the processor's memory.
    """

    max_workgroup: int
    local_kib: int
    compute_units: int
    image_texels: int
    half_arithmetic: bool
    unified_memory: bool


@dataclass(frozen=True)
class OpenClDevice:
    """A device of an installed driver.

    Attributes:
        index: "PLATFORM:DEVICE", both counted from 0, as EDGECONV_OPENCL_DEVICE takes it.
        platform: name of its platform.
        name: its own name.
        driver: the driver's version.
        gpu: whether it is one; PoCL's is the processor.
        limits: what the driver says of it.
    """

    index: str
    platform: str
    name: str
    driver: str
    gpu: bool
    limits: DeviceLimits

    @property
    def description(self) -> str:
        """One line for reports."""
        return f"{self.name} ({self.platform}, driver {self.driver})"


def used_device(devices: Sequence[OpenClDevice]) -> OpenClDevice | None:
    """Return the device that programs take: the first GPU, else the first; None without one.

    $EDGECONV_OPENCL_DEVICE, an index or a part of the names, leaves those that fit it.
    """
    wanted = os.environ.get("EDGECONV_OPENCL_DEVICE", "").lower()
    exact = any(device.index == wanted for device in devices)
    fitting = [
        device
        for device in devices
        if (
            device.index == wanted
            if exact
            else wanted in f"{device.platform}: {device.name}".lower()
        )
    ]
    return min(fitting, key=lambda device: not device.gpu, default=None)


def opencl_devices() -> list[OpenClDevice]:
    """Return the devices of all drivers; empty where there are none.

    Drivers load much into a process and may end it, so that another one asks them. Raises
    DeviceError where that one dies, with what it wrote, and where EDGECONV_OPENCL names what is
    no library.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode == _NOT_LOADED:
        raise DeviceError(
            f"EDGECONV_OPENCL: the library cannot be loaded: {done.stderr.strip()}. Correct the "
            "path, or unset it: drivers are looked for in their usual places then."
        )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()[-3:]
        raise DeviceError(
            f"asking the OpenCL drivers for devices ended with {done.returncode}: "
            f"{'; '.join(lines) or 'no message'}. {ADVICE}"
        )
    entries = json.loads(done.stdout.splitlines()[-1])
    return [OpenClDevice(**{**one, "limits": DeviceLimits(**one["limits"])}) for one in entries]


def _load() -> ctypes.CDLL | None:
    """Load the library that the runtime would (`edgeconv/runtime/src/opencl/library.c`).

    Raises OSError where $EDGECONV_OPENCL names another that cannot be loaded.
    """
    if wanted := os.environ.get("EDGECONV_OPENCL"):
        return ctypes.CDLL(wanted)
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _ask(library: ctypes.CDLL) -> list[OpenClDevice]:
    devices = []
    for number, platform in enumerate(_handles(library.clGetPlatformIDs)):
        name = _text(library.clGetPlatformInfo, platform, _PLATFORM_NAME)
        kinds = ctypes.c_uint64(_DEVICE_TYPE_ALL)
        for place, device in enumerate(_handles(library.clGetDeviceIDs, platform, kinds)):
            info = library.clGetDeviceInfo
            devices.append(
                OpenClDevice(
                    index=f"{number}:{place}",
                    platform=name,
                    name=_text(info, device, _DEVICE_NAME),
                    driver=_text(info, device, _DRIVER_VERSION),
                    gpu=bool(_number(info, device, _DEVICE_TYPE) & _DEVICE_TYPE_GPU),
                    limits=_limits(info, device),
                )
            )
    return devices


def _limits(info: Any, device: ctypes.c_void_p) -> DeviceLimits:
    dedicated = _number(info, device, _LOCAL_MEM_TYPE) == _DEDICATED
    images = _number(info, device, _IMAGE_SUPPORT)
    return DeviceLimits(
        max_workgroup=_number(info, device, _MAX_WORK_GROUP_SIZE),
        local_kib=_number(info, device, _LOCAL_MEM_SIZE) // 1024 if dedicated else 0,
        compute_units=_number(info, device, _MAX_COMPUTE_UNITS),
        image_texels=_number(info, device, _IMAGE_MAX_BUFFER_SIZE) if images else 0,
        half_arithmetic="cl_khr_fp16" in _text(info, device, _EXTENSIONS).split(),
        unified_memory=bool(_number(info, device, _HOST_UNIFIED_MEMORY)),
    )


def _number(info: Any, device: ctypes.c_void_p, what: int) -> int:
    """Return an integer of 4 or 8 bytes; 0 where the driver does not know it."""
    value = ctypes.c_uint64()
    info(device, ctypes.c_uint(what), ctypes.c_size_t(8), ctypes.byref(value), None)
    return value.value


def _handles(function: Any, *of: Any) -> list[ctypes.c_void_p]:
    found, count = (ctypes.c_void_p * _MOST)(), ctypes.c_uint()
    code = function(*of, ctypes.c_uint(_MOST), found, ctypes.byref(count))
    return [ctypes.c_void_p(found[i]) for i in range(min(count.value, _MOST))] if code == 0 else []


def _text(function: Any, handle: ctypes.c_void_p, what: int) -> str:
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    code = function(handle, ctypes.c_uint(what), ctypes.c_size_t(_TEXT_BYTES), text, None)
    return text.value.decode("utf-8", "replace") if code == 0 else "?"


def _main() -> int:
    try:
        opened = _load()
    except OSError as error:
        sys.stderr.write(str(error))
        return _NOT_LOADED
    listed = [] if opened is None else _ask(opened)
    sys.stdout.write("\n" + json.dumps([asdict(device) for device in listed]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
