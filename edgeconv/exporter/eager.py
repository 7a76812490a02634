"""Runs a PyTorch program eagerly and translates it to ONNX, both in evaluation mode."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt
import onnx

from edgeconv.errors import UnsupportedModelError, UsageError
from edgeconv.exporter import torchscript
from edgeconv.exporter.custom import translation_table
from edgeconv.exporter.opset import OPSET
from edgeconv.frontend import Source
from edgeconv.frontend.quiet import quiet

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]


class Program:
    """A source's PyTorch program, as a context: in evaluation mode, on one thread.

    One thread, since the number of threads changes how sums are split, and so their last bits.
    """

    def __init__(self, source: Source) -> None:
        """Keep the source; its `module` is set."""
        import torch

        assert source.module is not None
        self._source = source
        self._program = source.module
        # An exported program's module has no modes: its mode was fixed when it was exported.
        self._has_modes = isinstance(source.module, torch.nn.Module)
        self._module: torch.nn.Module = (
            source.module if isinstance(source.module, torch.nn.Module) else source.module.module()
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Switch to evaluation mode; what was before comes back at the end."""
        import torch

        self._stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        if self._has_modes:
            # A frozen TorchScript module has lost its mode.
            layers = [layer for layer in self._module.modules() if hasattr(layer, "training")]
            for layer in layers:
                self._stack.callback(setattr, layer, "training", layer.training)
                layer.training = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the mode of every layer, and the number of threads."""
        self._stack.close()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs by name: "output", "output_0" and so on, or the keys of a dict.

        Raises:
            UsageError: the module fails on these inputs.
            UnsupportedModelError: an output is no tensor.
        """
        import torch

        try:
            with torch.no_grad():
                result = self._module(*self._tensors(inputs))
        except Exception as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
            raise UsageError(
                f"{self._source.origin}: the network fails on inputs {shapes}: {error}"
            ) from error
        outputs = _named(result)
        for name, value in outputs.items():
            if not isinstance(value, torch.Tensor):
                raise UnsupportedModelError(
                    f"{self._source.origin}: {name} is {type(value).__name__}; a network returns "
                    "a tensor, or a tuple, list or dict of tensors"
                )
        return {name: value.detach().cpu().numpy().copy() for name, value in outputs.items()}

    def to_onnx(self) -> onnx.ModelProto:
        """Translate with PyTorch's exporter; node metadata holds the module paths.

        Raises:
            UnsupportedModelError: the program cannot be traced, or an operator has no
                translation.
        """
        import torch

        try:
            with quiet(), torch.no_grad():
                return self._translated()
        except UsageError:
            raise
        except Exception as error:
            raise UnsupportedModelError(
                f"{self._source.origin}: cannot be exported to ONNX: {_cause(error)}"
            ) from error

    def _translated(self) -> onnx.ModelProto:
        import torch

        examples = self._source.example_inputs
        names = list(examples), list(self.run(examples))
        if isinstance(self._module, torch.jit.ScriptModule):
            return torchscript.to_onnx(self._module, self._tensors(examples), *names)
        program = torch.onnx.export(
            self._program,
            self._tensors(examples),
            dynamo=True,
            opset_version=OPSET,
            input_names=names[0],
            output_names=names[1],
            custom_translation_table=translation_table(),
            verbose=False,
        )
        assert program is not None
        model: onnx.ModelProto = program.model_proto
        return model

    def _tensors(self, inputs: Mapping[str, Array]) -> tuple[torch.Tensor, ...]:
        import torch

        return tuple(torch.from_numpy(array.copy()) for array in inputs.values())


def _named(result: Any) -> dict[str, Any]:
    if isinstance(result, Mapping):
        return {str(name): value for name, value in result.items()}
    if isinstance(result, tuple | list):
        return {f"output_{index}": value for index, value in enumerate(result)}
    return {"output": result}


def _cause(error: BaseException) -> str:
    """Return the first lines of what went wrong first: the exporter wraps it several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return " ".join([f"{type(error).__name__}:", *lines[:3]])
