"""Run-time compiled CUDA kernels through NVIDIA's own bindings (cuda-bindings).

torch's CUDA builds bring cuda-bindings and NVRTC, so the user needs no compiler and no further
package. Machine code is cached on disk, named by a hash of source, options, architecture and
compiler version; a cache that cannot be written costs a second at each start and nothing else.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import torch

OPTIONS = ("-std=c++17", "-default-device")


class KernelError(RuntimeError):
    """A call of the CUDA driver or of NVRTC failed: a defect of this program or of the driver."""


class Kernels:
    """Kernels of one source on one device, each taking one structure by value.

    Args:
        source: CUDA C++.
        names: extern "C" kernels.
        device: CUDA device number.
        block: threads a block.
    """

    def __init__(self, source: str, names: tuple[str, ...], device: int, block: int):
        from cuda.bindings import driver

        self._driver, self._launch = driver, driver.cuLaunchKernel
        self._device = device
        self._block = block
        with torch.cuda.device(device):
            torch.empty(1, device="cuda")  # makes torch's context current in this thread
            major, minor = torch.cuda.get_device_capability(device)
            module = _check(driver.cuModuleLoadData(compiled(source, 10 * major + minor)))
            self._functions = {
                name: _check(driver.cuModuleGetFunction(module, name.encode())) for name in names
            }

    def launch(self, name: str, grid_x: int, grid_y: int, arguments: int, stream: int) -> None:
        """Queue a kernel.

        Args:
            arguments: address of an array with one pointer, to the kernel's structure.
            stream: CUDA stream handle.
        """
        call = (
            self._functions[name], grid_x, grid_y, 1, self._block, 1, 1, 0, stream, arguments, 0,
        )  # fmt: skip
        result = self._launch(*call)[0]
        if result == 0:
            return
        if result == self._driver.CUresult.CUDA_ERROR_INVALID_CONTEXT:
            # a thread (autograd's own) that has not touched the device yet
            context = _check(self._driver.cuDevicePrimaryCtxRetain(self._device))
            _check(self._driver.cuCtxSetCurrent(context))
            result = self._launch(*call)[0]
        if result != 0:
            raise KernelError(f"launch of {name} failed: {result.name}")


class Arguments(threading.local):
    """Memory for one kernel structure per thread; the driver copies it at each launch."""

    def __init__(self, size: int):
        self.buffer = ctypes.create_string_buffer(size)
        self.start = ctypes.addressof(self.buffer)
        self._pointer = (ctypes.c_void_p * 1)(self.start)
        self.address = ctypes.addressof(self._pointer)


def compiled(source: str, capability: int) -> bytes:
    """Machine code (or PTX for an architecture newer than the compiler), from the cache if there.

    Raises:
        KernelError: the source does not compile; the message holds the compiler's log.
    """
    from cuda.bindings import nvrtc

    version = _check(nvrtc.nvrtcVersion())
    known = _check(nvrtc.nvrtcGetSupportedArchs())
    native = capability in known
    target = capability if native else max(a for a in known if a <= capability)
    options = (*OPTIONS, f"-arch={'sm' if native else 'compute'}_{target}")
    key = hashlib.sha256(repr((source, options, tuple(version))).encode()).hexdigest()[:32]
    path = cache_folder() / f"{key}.{'cubin' if native else 'ptx'}"
    try:
        return path.read_bytes()
    except OSError:
        code = _compile(nvrtc, source, options, native)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(code)
        os.replace(name, path)
    except OSError:
        pass  # read-only home or full disk: compile again next time
    return code


def cache_folder() -> Path:
    """Where compiled kernels are kept between programs."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "self6d-studio" / "kernels"


def _compile(nvrtc: Any, source: str, options: tuple[str, ...], native: bool) -> bytes:
    program = _check(nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], []))
    try:
        flags = [option.encode() for option in options]
        failed = nvrtc.nvrtcCompileProgram(program, len(flags), flags)[0] != 0
        if failed:
            log = b" " * _check(nvrtc.nvrtcGetProgramLogSize(program))
            _check(nvrtc.nvrtcGetProgramLog(program, log))
            raise KernelError(log.decode(errors="replace").strip("\0 \n"))
        size, get = (
            (nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
            if native
            else (nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
        )
        code = b" " * _check(size(program))
        _check(get(program, code))
        return code
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _check(result: tuple) -> Any:
    """The value of a binding's (error, values...) or an exception."""
    error, *values = result
    if error != 0:
        raise KernelError(f"{error.name}")
    return values[0] if len(values) == 1 else values
