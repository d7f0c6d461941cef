"""saers.models.registry: models from files, packages and folders."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from saers import FormatError
from saers.models import adapters, load, register_adapter
from saers.models.module import ModuleModel

SOURCE = """
from torch import nn
from saers.models.module import ModuleModel
from widths import WIDTH

def build(width=WIDTH):
    return nn.Sequential(nn.Conv1d(4, width, 3, padding=1), nn.ReLU())

def wrapped():
    return ModuleModel(build(), input_length=50)

def wrong():
    return "a network"
"""


@pytest.fixture
def source(tmp_path):
    (tmp_path / "widths.py").write_text("WIDTH = 8\n")
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    yield path
    sys.modules.pop("widths", None)


def test_a_function_in_a_file_builds_the_model(source):
    model = load(f"{source}:build", "0", options={"width": 5})
    assert model.layers["0"].channels == 5
    assert str(source.parent) not in sys.path


def test_neighbours_of_the_file_can_be_imported(source):
    assert load(f"{source}:build").layers["0"].channels == 8


def test_a_function_may_return_a_whole_sequence_model(source):
    assert load(f"{source}:wrapped").input_length == 50


def test_a_function_of_a_package_builds_the_model():
    model = load("torch.nn:Conv1d", options={"in_channels": 4, "out_channels": 2, "kernel_size": 3})
    assert isinstance(model, ModuleModel)


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "wrapped.pth"])
def test_weights_are_loaded_in_full(source, tmp_path, suffix):
    torch.manual_seed(3)
    state = nn.Sequential(nn.Conv1d(4, 8, 3, padding=1)).state_dict()
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if "wrapped" in suffix else state, path)
    model = load(f"{source}:build", weights=path)
    assert torch.equal(model.module[0].weight, state["0.weight"])


def test_missing_and_unexpected_tensors_are_listed(source, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"0.weight": torch.zeros(8, 4, 3), "9.bias": torch.zeros(8)}, path)
    with pytest.raises(FormatError, match=r"(?s)weights\.pt: .*0\.bias.*9\.bias"):
        load(f"{source}:build", weights=path)


class Payload:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_code_in_a_weights_file_is_not_executed(source, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"0.weight": Payload()}, path)
    with pytest.raises(FormatError, match=r"weights\.pt: not a readable state dict"):
        load(f"{source}:build", weights=path)


def test_a_missing_weights_file_is_named(source):
    with pytest.raises(FileNotFoundError, match=r"model weights: no file at nowhere\.pt"):
        load(f"{source}:build", weights="nowhere.pt")


@pytest.mark.parametrize(
    "name, message",
    [
        ("biuld", r"net\.py: no function 'biuld'; did you mean 'build'\?"),
        ("wrong", r"must return a torch\.nn\.Module or a SequenceModel, got str"),
    ],
)
def test_what_a_file_cannot_give_is_named(source, name, message):
    with pytest.raises(ValueError, match=message):
        load(f"{source}:{name}")


def test_a_wrong_option_is_named_with_the_source(source):
    with pytest.raises(ValueError, match=r"net\.py:build: .*'depth' \(options: depth\)"):
        load(f"{source}:build", options={"depth": 3})


def test_an_error_in_the_users_file_names_the_file(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import a_module_that_is_not_there\n")
    with pytest.raises(ValueError, match=r"broken\.py: ModuleNotFoundError: No module named"):
        load(f"{path}:build")


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("no-such.py:build", FileNotFoundError, "model source: no file at no-such.py"),
        ("no_such_package:build", ValueError, "No module named 'no_such_package'"),
        ("net.py", ValueError, "must be 'file.py:function' or 'package.module:function'"),
    ],
)
def test_a_source_that_is_not_there_is_named(name, error, message):
    with pytest.raises(error, match=message):
        load(name)


def test_an_unknown_layer_is_refused_at_once(source):
    with pytest.raises(ValueError, match="no layer '7'; layers: 0, 1"):
        load(f"{source}:build", "7")


def test_an_unknown_adapter_lists_the_known(source):
    with pytest.raises(ValueError, match=r"adapter must be one of .*, got 'modul'; did you mean"):
        load(f"{source}:build", adapter="modul")


def test_a_registered_adapter_opens_its_own_sources(monkeypatch):
    monkeypatch.setattr("saers.models.registry._ADAPTERS", {})

    def constant(source, *, layer, options, weights, device):
        return ModuleModel(nn.Conv1d(4, len(source), 1))

    register_adapter("constant", constant)
    assert adapters() == ["constant"]
    assert load("abc", adapter="constant").module.out_channels == 3


def test_importing_the_package_does_not_import_torch():
    code = "import sys, saers.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_package_is_reached_from_the_top():
    code = "import saers; saers.models.load"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
