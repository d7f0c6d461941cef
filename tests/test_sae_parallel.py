"""Two processes under torchrun, on the CPU, against one."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys, torch, saers
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(5)
rows = torch.randn(2000, 8, generator=generator) + 1
settings = json.loads(sys.argv[2])
config = saers.TrainConfig(n_latents=24, k=3, steps=40, batch_size=64, log_every=1,
                           dead_window=300, learning_rate=5e-3, **settings)
result = saers.train_sae(rows, config, metrics_path=sys.argv[1] + "/metrics.jsonl",
                         state_dir=sys.argv[1] + "/state")
"""


def losses(folder, processes, settings):
    folder.mkdir()
    script = folder / "train.py"
    script.write_text(SCRIPT)
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    subprocess.run(
        [*start, str(script), str(folder), json.dumps(settings)],
        check=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line], lines[-1]["evaluation"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"architecture": "batchtopk", "matryoshka": [0.25]}], ids=["topk", "batchtopk"]
)
def test_two_processes_have_the_loss_curve_of_one(tmp_path, settings):
    one, scores = losses(tmp_path / "one", 1, settings)
    two, both = losses(tmp_path / "two", 2, settings)
    assert len(one) == 40
    assert two == pytest.approx(one, rel=1e-4)
    assert both["fvu"] == pytest.approx(scores["fvu"], rel=1e-3)
    assert (tmp_path / "two" / "state" / "train_state.safetensors").exists()
