"""Any torch.nn.Module as a sequence model, its layers reached by their names.

A forward hook on the layer's module takes its output and stops the forward pass there: nothing
behind the layer is computed. A module that runs several times in one pass, such as one shared
max-pool, is a layer per call: ``pool#1``, ``pool#2``, ...
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NoReturn

import torch
from torch.utils.flop_counter import FlopCounterMode

from saers.checks import did_you_mean
from saers.layer import LayerInfo
from saers.models.receptive import Window, WindowTracer, perturbed_window

_PROBE_LENGTHS = (1024, 4096, 16384)


class Reached(BaseException):
    """Carries a layer's output out of the forward pass; models do not catch it."""

    def __init__(self, output: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.output = output


class ModuleModel:
    """A torch.nn.Module as a `saers.models.SequenceModel`.

    Parameters
    ----------
    module
        The network; it is put into evaluation mode.
    input_length
        Length of its input in bp; None: any. Left out, an attribute ``input_length`` of the
        module is used where there is one.
    channels_first
        Whether the network reads (b, 4, length), else (b, length, 4).
    positions_last
        Whether its layers give (b, channels, positions), else (b, positions, channels).
    windows
        Layer -> (stride, lo, hi), for layers whose receptive window cannot be found.
    device
        Where it runs; None: where it is.

    Examples
    --------
    >>> net = torch.nn.Sequential(torch.nn.Conv1d(4, 3, 5, padding=2), torch.nn.MaxPool1d(2))
    >>> model = ModuleModel(net, input_length=20)
    >>> model.layers["1"]
    LayerInfo(name='1', channels=3, stride=2, window_lo=2, window_hi=3, tokens=False)
    >>> model.capture(torch.zeros(7, 20, 4), "0").shape
    torch.Size([7, 20, 3])
    """

    alphabet = "ACGT"

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        input_length: int | None = None,
        channels_first: bool = True,
        positions_last: bool = True,
        windows: Mapping[str, tuple[int, int, int]] | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.module = module.eval() if device is None else module.eval().to(device)
        own = getattr(module, "input_length", None)
        self.input_length = own if input_length is None and isinstance(own, int) else input_length
        self.layers: Mapping[str, LayerInfo] = _Layers(self)
        self.channels_first = channels_first
        self._positions_last = positions_last
        self._windows = {name: Window(*window) for name, window in (windows or {}).items()}
        self._modules = dict(module.named_modules(remove_duplicate=False))
        self._outputs: dict[str, tuple[int, ...] | str] | None = None
        self._lengths: dict[tuple[str, int], int] = {}

    def __call__(self, onehot: torch.Tensor) -> Any:  # noqa: ANN401
        """Compute the outputs of one-hot sequences (b, length, 4)."""
        with torch.no_grad():
            return self.module(self._input(onehot))

    def capture(self, onehot: torch.Tensor, layer: str) -> torch.Tensor:
        """Compute a layer, (b, positions, channels) in float32, and nothing behind it.

        Raises
        ------
        ValueError
            If there is no such layer, or its output has no positions and channels.
        """
        return self._given(self._stop_at(self._input(onehot), layer), layer, onehot.shape[1])

    def capture_layers(
        self, onehot: torch.Tensor, layers: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """Compute several layers in one forward pass, each as :meth:`capture` does."""
        taken: dict[str, Any] = {}

        def take(layer: str) -> Callable[[Any], None]:
            def note(output: Any) -> None:  # noqa: ANN401
                # What comes behind may work in place.
                taken[layer] = output.clone() if isinstance(output, torch.Tensor) else output
                if len(taken) == len(set(layers)):
                    raise Reached(output)

            return note

        with torch.no_grad(), ExitStack() as hooks:
            for layer in set(layers):
                name, call = self._find(layer)
                hooks.enter_context(hooked(self._modules[name], call, take(layer)))
            with suppress(Reached):
                self.module(self._input(onehot))
        return {layer: self._given(taken.get(layer), layer, onehot.shape[1]) for layer in layers}

    def run_from(
        self, layer: str, activations: torch.Tensor, *, onehot: torch.Tensor | None = None
    ) -> Any:  # noqa: ANN401
        """Compute the outputs from a layer's activations.

        The whole forward pass runs, with the layer's output replaced; gradients are kept where
        the activations ask for them. Without ``onehot`` it
        runs on an empty sequence, which is exact only where nothing by-passes the layer.

        Parameters
        ----------
        layer
            Name of the layer.
        activations
            (b, positions, channels).
        onehot
            (b, length, 4), the sequences, for branches that by-pass the layer.
        """
        name, call = self._find(layer)
        if onehot is None:
            length = self.input_length or self._lengths.get((layer, activations.shape[1]))
            if length is None:
                raise ValueError(
                    f"onehot must be given: a model of any input length was not captured at "
                    f"{layer!r} with {activations.shape[1]} positions before"
                )
            onehot = torch.zeros(len(activations), length, 4)
        inputs = self._input(onehot)
        new = activations.transpose(1, 2) if self._positions_last else activations

        def replace(output: torch.Tensor) -> torch.Tensor:
            if output.shape != new.shape:
                raise ValueError(
                    f"activations of {layer!r} must have the shape {tuple(output.shape)} "
                    f"(as the layer gives it), got {tuple(new.shape)}"
                )
            return new.to(output)

        wanted = torch.set_grad_enabled(activations.requires_grad)
        with wanted, hooked(self._modules[name], call, replace):
            return self.module(inputs)

    def info(self, layer: str) -> LayerInfo:
        """Describe a layer: channels, stride and receptive window."""
        name, _ = self._find(layer)
        if name in self._windows or layer in self._windows:
            window = self._windows.get(layer) or self._windows[name]
            return LayerInfo(layer, self._channels(layer), *window)
        reason = ""
        for length in (self.input_length,) if self.input_length else _PROBE_LENGTHS:
            try:
                return LayerInfo(layer, self._channels(layer), *self._window(layer, length))
            except ValueError as error:
                reason = str(error)
        raise ValueError(
            f"layer {layer!r}: no receptive window was found: {reason}; "
            f"ModuleModel(windows={{{layer!r}: (stride, lo, hi)}}) states it"
        )

    def outputs(self) -> Mapping[str, tuple[int, ...] | str]:
        """List what each module gives in one forward pass: a shape, or what else it is."""
        if self._outputs is None:
            self._outputs = self._trace()
        return self._outputs

    def flops(self) -> dict[str, int]:
        """Count the floating-point operations up to each layer, and up to the "outputs".

        Counted by PyTorch in one forward pass of one input.
        """
        counts: dict[str, int] = {}

        def count(name: str, call: int) -> hooked:
            def note(_: Any) -> None:  # noqa: ANN401
                counts[name] = counter.get_total_flops()

            return hooked(self._modules[name.partition("#")[0]], call, note)

        with FlopCounterMode(display=False) as counter, ExitStack() as hooks:
            for layer in self.layers:
                hooks.enter_context(count(layer, self._find(layer)[1]))
            self(torch.zeros(1, self.input_length or _PROBE_LENGTHS[0], 4))
            counts["outputs"] = counter.get_total_flops()
        return counts

    def _window(self, layer: str, length: int) -> Window:
        """Find the window by arithmetic, else by perturbation."""
        inputs = self._input(torch.zeros(1, length, 4))
        with WindowTracer(inputs, dim=2 if self.channels_first else 1) as tracer:
            output = self._stop_at(inputs, layer)
        found = tracer.window(output, dim=2 if self._positions_last else 1)
        return found or perturbed_window(lambda onehot: self.capture(onehot, layer), length)

    def _channels(self, layer: str) -> int:
        shape = self.outputs()[layer]
        return int(shape[1 if self._positions_last else 2])

    def _input(self, onehot: torch.Tensor) -> torch.Tensor:
        """Check sequences and bring them into the form that the network reads."""
        if onehot.ndim != 3 or onehot.shape[2] != 4:
            raise ValueError(f"onehot must be (b, length, 4), got {tuple(onehot.shape)}")
        if self.input_length not in (None, onehot.shape[1]):
            raise ValueError(f"onehot must be {self.input_length} bp long, got {onehot.shape[1]}")
        example = next(self.module.parameters(), torch.empty(0))
        inputs = onehot.to(device=example.device, dtype=example.dtype)
        return inputs.transpose(1, 2).contiguous() if self.channels_first else inputs

    def _given(self, output: Any, layer: str, length: int) -> torch.Tensor:  # noqa: ANN401
        """Bring a layer's output into the form (b, positions, channels)."""
        if not isinstance(output, torch.Tensor) or output.ndim != 3:
            raise ValueError(_unsuitable(layer, _describe(output)))
        values = output.transpose(1, 2) if self._positions_last else output
        self._lengths[layer, values.shape[1]] = length
        return values.float()

    def _stop_at(self, inputs: torch.Tensor, layer: str) -> torch.Tensor:
        """Run the network up to a layer and return the layer's own output."""
        name, call = self._find(layer)
        try:
            with torch.no_grad(), hooked(self._modules[name], call, stop):
                self.module(inputs)
        except Reached as reached:
            output = reached.output
        else:
            raise ValueError(f"layer {layer!r} did not run in this forward pass")
        if not isinstance(output, torch.Tensor) or output.ndim != 3:
            raise ValueError(_unsuitable(layer, _describe(output)))
        return output

    def _find(self, layer: str) -> tuple[str, int]:
        """Resolve ``name`` or ``name#call`` to a module and one of its calls."""
        name, _, number = layer.partition("#")
        if layer in self.outputs():
            shape = self.outputs()[layer]
            if isinstance(shape, str) or len(shape) != 3:
                raise ValueError(_unsuitable(layer, shape))
            return name, int(number or 1)
        calls = [known for known in self.outputs() if known.partition("#")[0] == name]
        if calls and not number:
            others = [n for n, m in self._modules.items() if m is self._modules[name] and n != name]
            alias = f" (also named {', '.join(others)})" if others else ""
            raise ValueError(
                f"layer {layer!r}{alias} runs {len(calls)} times in one forward pass: "
                f"choose {', '.join(calls)}"
            )
        hint = did_you_mean(layer, self.layers, most=3)
        raise ValueError(f"no layer {layer!r}{hint}; layers: {', '.join(self.layers)}")

    def _trace(self) -> dict[str, tuple[int, ...] | str]:
        """Run the network once and note what each module gives, call by call."""
        calls: dict[torch.nn.Module, list[tuple[int, ...] | str]] = {}

        def note(module: torch.nn.Module, _: Any, output: Any) -> None:  # noqa: ANN401
            calls.setdefault(module, []).append(_describe(output))

        handles = [m.register_forward_hook(note) for m in set(self._modules.values())]
        try:
            self(torch.zeros(1, self.input_length or _PROBE_LENGTHS[0], 4))
        finally:
            for handle in handles:
                handle.remove()
        outputs = {}
        for name, module in self._modules.items():
            shapes = calls.get(module, []) if name else []
            for call, shape in enumerate(shapes, start=1):
                outputs[f"{name}#{call}" if len(shapes) > 1 else name] = shape
        return outputs


class _Layers(Mapping[str, LayerInfo]):
    """Layers of a model; a layer is described when it is asked for."""

    def __init__(self, model: ModuleModel) -> None:
        self._model = model
        self._infos: dict[str, LayerInfo] = {}

    def __getitem__(self, name: str) -> LayerInfo:
        if name not in self._infos:
            self._infos[name] = self._model.info(name)
        return self._infos[name]

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        outputs = self._model.outputs().items()
        return (name for name, shape in outputs if not isinstance(shape, str) and len(shape) == 3)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class hooked:
    """Hands the output of one call of a module to a function, while it is entered."""

    def __init__(self, module: torch.nn.Module, call: int, handle: Callable[[Any], Any]) -> None:
        self._module, self._call, self._handle = module, call, handle
        self._seen = 0

    def __enter__(self) -> None:
        self._hook = self._module.register_forward_hook(self._fire)

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _fire(self, _module: torch.nn.Module, _args: Any, output: Any) -> Any:  # noqa: ANN401
        self._seen += 1
        return self._handle(output) if self._seen == self._call else None


def stop(output: Any) -> NoReturn:  # noqa: ANN401
    """End a forward pass at the call of a module that gives ``output``."""
    raise Reached(output)


def _describe(output: Any) -> tuple[int, ...] | str:  # noqa: ANN401
    return tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__


def _unsuitable(layer: str, shape: tuple[int, ...] | str) -> str:
    what = shape if isinstance(shape, str) else f"a tensor of shape {shape}"
    return f"layer {layer!r} must give (batch, channels, positions), it gives {what}"
