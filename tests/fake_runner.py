"""A stand-in for an artifact's runner: the same options, files and JSON, in Python.

It computes the network of `samples`: doubled = 2 x, y = relu(doubled), z = sum of y. `FAULT`,
written before these lines by `samples.fake_runner`, makes it fail in one way.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

args = sys.argv[1:]
folder = Path(args.pop(0)) if args and not args[0].startswith("-") else Path(__file__).parent
options: dict[str, list[str]] = {}
while args:
    option = args.pop(0)
    flag = option in ("--profile", "--self-test", "--describe")
    options.setdefault(option, []).append("" if flag else args.pop(0))

manifest = json.loads((folder / "manifest.json").read_text())
if FAULT == "load":  # noqa: F821 (a line before the file gives it)
    print("weights.bin: the SHA-256 is wrong", file=sys.stderr)
    sys.exit(3)
if FAULT == "illegal":  # noqa: F821 (a line before the file gives it)
    os.kill(os.getpid(), signal.SIGILL)
if FAULT == "hang":  # noqa: F821 (a line before the file gives it)
    time.sleep(60)
if FAULT == "garbage":  # noqa: F821 (a line before the file gives it)
    print("hello")
    sys.exit(0)

shape = manifest["inputs"][0]["shape"]


def network(path):
    x = np.fromfile(path, "<f4").reshape(shape)
    doubled = x * np.float32(3 if FAULT in ("wrong", "blind") else 2)  # noqa: F821 (a line before the file gives it)
    y = np.maximum(doubled, 0)
    blocked = np.full((1, 1, *shape[2:], 4), np.float32(-7))
    blocked[0, 0, :, :, : shape[1]] = doubled[0].transpose(1, 2, 0)
    return {"y": y, "z": y.sum(dtype=np.float32).reshape(1)}, [blocked, y]


inputs = dict(pair.split("=", 1) for pair in options.get("--input", []))
outputs, values = network(inputs.get("0", folder / "golden/0/input_0.bin"))
for pair in options.get("--output", []):
    index, path = pair.split("=", 1)
    outputs[manifest["outputs"][int(index)]["name"]].astype("<f4").tofile(path)
if "--dump-steps" in options:
    dumps = Path(options["--dump-steps"][0])
    dumps.mkdir(exist_ok=True)
    for step, value in enumerate(values):
        value.astype("<f4").tofile(dumps / f"{step}_0.bin")

repeat = int(options.get("--repeat", ["1"])[0])
report = {
    "model": manifest["model"]["name"],
    "target": manifest["target"]["name"],
    "api": 1,
    "device": "",
    "threads": int(options.get("--threads", ["1"])[0]),
    "load_ms": 1.5,
    "arena_bytes": 64,
    "weights_bytes": 4,
    "peak_rss_bytes": 1 << 20,
    "runs_ms": [1.0 + 0.01 * i for i in range(repeat)],
}
if "--profile" in options:
    report["steps"] = [
        {"name": name, "family": "elementwise", "ms": [0.5] * repeat} for name in ("double", "relu")
    ]
code = 0
if "--self-test" in options:
    cases = []
    for case in range(len(manifest["golden"])):
        got, _ = network(folder / f"golden/{case}/input_0.bin")
        entries = []
        for i, tensor in enumerate(manifest["outputs"]):
            want = np.fromfile(folder / f"golden/{case}/output_{i}.bin", "<f4")
            worst = float(np.abs(got[tensor["name"]].ravel() - want).max())
            relative = worst / max(float(np.abs(want).max()), 1e-30)
            passed = FAULT == "blind" or relative <= tensor["tolerance"]  # noqa: F821 (a line before the file gives it)
            entries.append(
                {
                    "name": tensor["name"],
                    "max_abs": worst,
                    "max_rel": relative,
                    "sqnr_db": "inf" if worst == 0 else 3.5,
                    "cosine": 1.0,
                    "tolerance": tensor["tolerance"],
                    "passed": passed,
                }
            )
        cases.append({"case": case, "outputs": entries})
    passed = all(o["passed"] for c in cases for o in c["outputs"])
    report["self_test"] = {"passed": passed, "cases": cases}
    code = 0 if passed else 5
print(json.dumps(report))
sys.exit(code)
