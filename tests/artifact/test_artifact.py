import dataclasses
import hashlib
import io
import json
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.artifact import CPU_FUNCTIONS, Artifact, Manifest, decode_tensor, encode_tensor
from edgeconv.artifact.bundle import load_bundle, save_bundle
from edgeconv.artifact.manifest import SCHEMA
from edgeconv.errors import ArtifactError, UsageError
from edgeconv.plan import Backend, NDRange, Space, Tensor
from edgeconv.target import load_target


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return samples.make_artifact()


@pytest.fixture(scope="module")
def data(artifact, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "sample.edge"
    artifact.save(path)
    return path.read_bytes()


def load(data: bytes, folder: Path) -> Artifact:
    path = folder / "damaged.edge"
    path.write_bytes(data)
    return Artifact.load(path)


def repack(data: bytes, change: dict[str, bytes | None]) -> bytes:
    """The same zip with entries changed, added or (None) left out; hashes are not mended."""
    memory = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(memory, "w") as new:
        entries = {name: old.read(name) for name in old.namelist()}
        for name, content in {**entries, **change}.items():
            if content is not None:
                new.writestr(name, content)
    return memory.getvalue()


def with_manifest(data: bytes, *path: str, value: object) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    inner = manifest
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return repack(data, {"manifest.json": json.dumps(manifest).encode()})


def test_save_and_load_are_inverse(artifact, data, tmp_path):
    loaded = load(data, tmp_path)
    assert loaded == artifact
    assert loaded.labels == ("cat", "dog")
    assert loaded.digest == artifact.digest


def test_equal_artifacts_have_equal_bytes(data, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    samples.make_artifact().save(tmp_path / "a.edge")
    assert (tmp_path / "a.edge").read_bytes() == data


def test_the_zip_is_stored_sorted_and_without_time(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
    assert [i.filename for i in infos] == sorted(i.filename for i in infos)
    assert {i.compress_type for i in infos} == {zipfile.ZIP_STORED}
    assert {i.date_time for i in infos} == {(1980, 1, 1, 0, 0, 0)}
    modes = {i.filename: stat.S_IMODE(i.external_attr >> 16) for i in infos}
    assert modes.pop("runner") == 0o755
    assert set(modes.values()) == {0o644}


def test_golden_cases_come_back_as_arrays(artifact):
    cases = artifact.golden_cases()
    assert len(cases) == 2
    for seed, (inputs, outputs) in enumerate(cases):
        np.testing.assert_array_equal(inputs["x"], samples.case(seed))
        for name, want in samples.outputs_of(samples.case(seed)).items():
            np.testing.assert_array_equal(outputs[name], want)


@settings(max_examples=150, deadline=None)
@given(choice=st.data())
def test_any_flipped_bit_is_found_or_harmless(artifact, data, tmp_path_factory, choice):
    bit = choice.draw(st.integers(0, 8 * len(data) - 1))
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        loaded = load(bytes(damaged), tmp_path_factory.getbasetemp())
    except ArtifactError:
        return
    assert loaded == artifact  # a bit of a timestamp or mode changes nothing that is used


@settings(max_examples=50, deadline=None)
@given(choice=st.data())
def test_any_truncation_is_found(data, tmp_path_factory, choice):
    length = choice.draw(st.integers(0, len(data) - 1))
    with pytest.raises(ArtifactError, match="cut short"):
        load(data[:length], tmp_path_factory.getbasetemp())


def test_every_changed_entry_is_found(artifact, data, tmp_path):
    for name in artifact.entries:
        with pytest.raises(ArtifactError, match="SHA-256"):
            load(repack(data, {name: artifact.entries[name] + b"x"}), tmp_path)
        with pytest.raises(ArtifactError, match="missing"):
            load(repack(data, {name: None}), tmp_path)
    with pytest.raises(ArtifactError, match=r"extra.txt.*does not know"):
        load(repack(data, {"extra.txt": b""}), tmp_path)


@pytest.mark.parametrize("name", ["../runner", "/etc/passwd", "a/../../b", "a\\b", ".ssh", "a/"])
def test_unsafe_names_are_refused(data, tmp_path, name):
    with pytest.raises(ArtifactError, match=r"unsafe|damaged"):
        load(repack(data, {name: b"x"}), tmp_path)
    with pytest.raises(ValueError, match="plain relative path"):
        save_bundle(tmp_path / "x.edge", {name: b""})


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_zips_are_refused(data, tmp_path):
    memory = io.BytesIO(data)
    with zipfile.ZipFile(memory, "a") as archive:
        archive.writestr("plan.json", b"{}")
    with pytest.raises(ArtifactError, match="twice"):
        load(memory.getvalue(), tmp_path)

    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"0" * 1000)
    with pytest.raises(ArtifactError, match="compressed"):
        load(memory.getvalue(), tmp_path)

    save_bundle(tmp_path / "foreign.zip", {"readme.txt": b"hello"})
    with pytest.raises(ArtifactError, match=r"without manifest\.json"):
        Artifact.load(tmp_path / "foreign.zip")
    with pytest.raises(ArtifactError, match="or not an"):
        load(b"#!/bin/sh\n", tmp_path)
    with pytest.raises(UsageError, match="cannot open"):
        Artifact.load(tmp_path / "none.edge")


def test_a_newer_schema_says_what_to_do(data, tmp_path):
    with pytest.raises(ArtifactError, match=rf"schema {SCHEMA + 1}.*compile the model again"):
        load(with_manifest(data, "schema", value=SCHEMA + 1), tmp_path)


def test_an_older_schema_that_lacks_a_key_is_not_called_damaged(data, tmp_path):
    older = with_manifest(with_manifest(data, "schema", value=1), "threads", value=None)
    with pytest.raises(ArtifactError, match=r"threads: missing.*older schema, 1: compile it again"):
        load(older, tmp_path)


def test_a_gpu_of_an_older_schema_has_to_be_compiled_again(tmp_path):
    path = tmp_path / "gpu.edge"
    kernels = {CPU_FUNCTIONS: b'{"k_double": "", "k_relu": ""}'}
    samples.make_artifact(target=load_target("mali-g610"), **kernels).save(path)
    older = with_manifest(path.read_bytes(), "schema", value=SCHEMA - 1)
    older = with_manifest(older, "target", "gpu", "images", value=False)
    with pytest.raises(ArtifactError, match=r"images: unknown key.*older schema.*compile it again"):
        load(older, tmp_path)


def test_every_key_of_the_manifest_is_needed(data, tmp_path):
    for field in dataclasses.fields(Manifest):
        with pytest.raises(ArtifactError, match=rf"{field.name}: missing"):
            load(with_manifest(data, field.name, value=None), tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("schema",), "1", "schema: expected an integer"),
        (("schema",), 0, "schema: expected 1 or more"),
        (("threads",), True, "threads: expected an integer"),
        (("threads",), 0, "threads: expected 1 or more"),
        (("precision",), "int3", "precision: expected one of fp32, fp16, mixed"),
        (("emit",), "all", "emit: expected one of bundle"),
        (("golden",), "zero", "golden: expected a list"),
        (("model", "onnx_sha256"), "abc", "onnx_sha256: expected a SHA-256"),
        (("model", "colour"), "red", "model.colour: unknown key"),
        (("target", "cpu", "cores"), 0, r"target: cpu.cores: expected 1 to 1024"),
        (("memory", "arena_bytes"), -1, "memory.arena_bytes: expected 0 or more"),
        (("memory", "arena_bytes"), 128, "memory sizes"),
        (("outputs",), [], "outputs: expected at least one"),
        (("inputs",), [{"name": "x", "shape": [0], "dtype": "float32"}], "sizes of 1 or more"),
        (("inputs",), [{"name": "x", "shape": [1], "dtype": "complex64"}], "a dtype of"),
        (("inputs",), [{"name": "x", "shape": [1], "dtype": "float32"}], "not the manifest's"),
    ],
)
def test_wrong_values_are_named(data, tmp_path, path, value, says):
    with pytest.raises(ArtifactError, match=says):
        load(with_manifest(data, *path, value=value), tmp_path)


def assembled(artifact: Artifact, **change) -> Artifact:
    parts = {
        "plan": artifact.plan,
        "entries": artifact.entries,
        "model": artifact.manifest.model,
        "target": artifact.manifest.target,
        "tools": {},
        "golden": artifact.manifest.golden,
    }
    return Artifact.assemble(**{**parts, **change})


def test_parts_that_do_not_fit_are_refused(artifact):
    assert assembled(artifact).plan == artifact.plan
    with pytest.raises(ArtifactError, match=r"golden/2/input_0.bin: missing"):
        assembled(artifact, golden=["a", "b", "c"])
    short = {**artifact.entries, "golden/0/input_0.bin": b"1234"}
    with pytest.raises(ArtifactError, match="does not fit 'x'"):
        assembled(artifact, entries=short)
    for weights in (b"", bytes(68), artifact.entries["weights.bin"][:-1]):
        with pytest.raises(ArtifactError, match=r"weights\.bin"):
            assembled(artifact, entries={**artifact.entries, "weights.bin": weights})
    step = dataclasses.replace(artifact.plan.steps[0], inputs=(9,))
    with pytest.raises(ArtifactError, match="'double' uses no buffer: 9"):
        assembled(artifact, plan=dataclasses.replace(artifact.plan, steps=(step,)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dtype": "complex64"}, "buffer 1 has no dtype"),
        ({"shape": (0, 4)}, "buffer 1 has 64 bytes, not those"),
        ({"shape": (99, 4)}, "buffer 1 has 64 bytes, not those"),
        ({"offset": 64}, "buffer 1 ends at byte 128 of arena, which has 64"),
        ({"offset": -1}, "buffer 1 ends at byte 63"),
        (
            {"frame": [1, 1, 3, 3, 4], "begin": [0, 0, 1, 1, 0]},
            r"not those of float32 \[1, 1, 3, 3",
        ),
        ({"frame": [1, 1, 2, 2, 4], "begin": [0, 0, 1, 0, 0]}, r"at \[0, 0, 1, 0, 0\] of only"),
        ({"frame": [1, 1, 2, 2, 4], "begin": []}, r"at \[\] of only"),
        ({"space": Space.OUTPUT, "index": 7}, "buffer 1 is output 7, which there is not"),
        ({"space": Space.WEIGHTS}, "of weights, which has 4"),
    ],
)
def test_buffers_outside_their_space_are_refused(artifact, change, says):
    buffers = list(artifact.plan.buffers)
    buffers[1] = dataclasses.replace(buffers[1], **change)
    plan = dataclasses.replace(artifact.plan, buffers=tuple(buffers))
    with pytest.raises(ArtifactError, match=says):
        assembled(artifact, plan=plan)


def test_images_that_make_no_sense_are_refused(artifact):
    plan = artifact.plan
    launch = {"backend": Backend.OPENCL, "ndrange": NDRange((4, 1, 1), (4, 1, 1))}

    def refuse(says, buffer=None, **change):
        step = dataclasses.replace(plan.steps[1], **{**launch, **change})
        buffers = (plan.buffers[0], buffer or plan.buffers[1], *plan.buffers[2:])
        changed = dataclasses.replace(plan, steps=(plan.steps[0], step), buffers=buffers)
        with pytest.raises(ArtifactError, match=says):
            assembled(artifact, plan=changed)

    refuse("'relu' has images, but runs on the CPU", images=(0,), backend=Backend.CPU, ndrange=None)
    refuse("'relu' has no input 1 to read as an image", images=(1,))
    refuse("'relu' has no input -1 to read as an image", images=(-1,))
    integers = dataclasses.replace(plan.buffers[1], dtype="int32")
    refuse("'relu' reads int32 as an image", integers, images=(0,))
    refuse("'relu' writes to what it reads as an image, input 0", images=(0,), outputs=(1,))


def test_unpack_is_idempotent_and_mends(artifact, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = artifact.unpack()
    assert folder == tmp_path / "edgeconv/artifacts" / artifact.digest
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert names == {*artifact.entries, "manifest.json"}
    assert os.access(folder / "runner", os.X_OK)
    assert not os.access(folder / "weights.bin", os.X_OK)
    before = (folder / "weights.bin").stat().st_mtime_ns
    (folder / "plan.json").write_bytes(b"{}")
    assert artifact.unpack() == folder
    assert (folder / "plan.json").read_bytes() == artifact.entries["plan.json"]
    assert (folder / "weights.bin").stat().st_mtime_ns == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]  # nothing left aside


def test_unpack_leaves_foreign_folders_alone(artifact, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="no artifact"):
        artifact.unpack(tmp_path)
    with pytest.raises(UsageError, match="cannot unpack"):
        artifact.unpack(tmp_path / "mine.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_manifest_lists_every_entry(artifact):
    assert {n: f.bytes for n, f in artifact.manifest.files.items()} == {
        n: len(d) for n, d in artifact.entries.items()
    }
    digest = hashlib.sha256(artifact.entries["runner"]).hexdigest()
    assert artifact.manifest.files["runner"].sha256 == digest


@given(
    st.lists(st.integers(1, 4), max_size=4),
    st.sampled_from(["float32", "int64", "uint8", "bool", "float16"]),
)
def test_tensors_survive_their_bytes(shape, dtype):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(np.dtype(dtype).newbyteorder(">"))
    back = decode_tensor(encode_tensor(array), Tensor("t", tuple(shape), dtype))
    np.testing.assert_array_equal(back, array)
    assert back.dtype == np.dtype(dtype)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}(/[a-z0-9_.]{1,3})?", fullmatch=True).filter(
            lambda name: "/." not in name
        ),
        st.binary(max_size=50),
    )
)
def test_bundles_survive_the_disk(tmp_path_factory, entries):
    path = tmp_path_factory.getbasetemp() / "bundle.edge"
    save_bundle(path, entries)
    assert load_bundle(path) == entries
