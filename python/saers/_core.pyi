"""Types of the compiled kernels."""

__all__ = [
    "FormatError",
    "TimeoutExceeded",
    "__version__",
]

__version__: str

class FormatError(ValueError): ...
class TimeoutExceeded(TimeoutError): ...
