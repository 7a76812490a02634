"""The one exception hierarchy; each class carries the exit code of the command line."""


class EdgeconvError(Exception):
    """Anything that edgeconv refuses or fails at.

    The message says what is wrong, where (file, layer, op), and what to do about it.

    Attributes:
        exit_code: what the command line exits with when the error ends a command.
    """

    exit_code = 1


class UsageError(EdgeconvError):
    """An argument, option or input array that does not fit."""

    exit_code = 2


class UnsupportedModelError(EdgeconvError):
    """The model file cannot be read, or holds something edgeconv does not compile."""

    exit_code = 3


class NumericError(EdgeconvError):
    """Outputs differ from the reference by more than the tolerance."""

    exit_code = 4


class DeviceError(EdgeconvError):
    """A device cannot be reached, or a program on it failed."""

    exit_code = 5


class ArtifactError(EdgeconvError):
    """An artifact is damaged, foreign, or of a newer schema."""

    exit_code = 6


class ToolchainError(EdgeconvError):
    """A tool that the work needs is missing or failed."""

    exit_code = 7
