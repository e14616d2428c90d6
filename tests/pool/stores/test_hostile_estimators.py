"""Files of estimators that somebody has made to do harm: refused in one line that names them, and nothing is run."""

import copy
import hashlib
import io
import json
import os
import pickle
import struct
import time
import warnings
import zipfile

import numpy as np
import pytest
import skops.io
from pools_on_disk import member, write_index
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from skfusion.pool import DirectoryStore, Member, ModelPool, PoolFormatError

X = np.arange(12.0).reshape(6, 2) ** 2
Y = [0, 0, 0, 1, 1, 1]


class Evil:
    """Runs code where it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def packed(files, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names that occur twice
        for name, data in files if isinstance(files, list) else files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def array_with(header, data=b"", version=1):
    text = header.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text) if len(text) < 2**16 else 2**16 - 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def node(kind, module, name, **more):
    return {"__class__": name, "__module__": module, "__loader__": kind, **more}


def text(value):
    return node("JsonNode", "builtins", "str", content=json.dumps(value), is_json=True)


def items(kind, *nodes):
    return node(f"{kind.capitalize()}Node", "builtins", kind, content=[*nodes])


@pytest.fixture
def pool_with(tmp_path):
    """Return a function that writes a pool whose member 'x' has some bytes as its file, with the right hash."""
    ModelPool([member("good", 3), Member("x", estimator=LogisticRegression().fit(X, Y))]).save(tmp_path)
    (path,) = tmp_path.glob("estimator-*")
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    path.unlink()

    def plant(change):
        made = change({**files})
        data = made if isinstance(made, bytes) else packed(made)
        name = f"estimator-{hashlib.sha256(data).hexdigest()}.skops"
        (tmp_path / name).write_bytes(data)
        index = json.loads((tmp_path / "pool.json").read_text())
        index["members"][1]["estimator"] = name
        write_index(tmp_path, index)
        return tmp_path

    return plant


def with_schema(change):
    """Return a change of the archive by a change of its schema, which is given as JSON, and of its arrays."""

    def changed(files):
        schema = json.loads(files["schema.json"])
        made = change(schema)
        return {**files, "schema.json": json.dumps(made if made is not None else schema).encode()}

    return changed


def with_array(data):
    return lambda files: {**files, next(name for name in files if name.endswith(".npy")): data}


def root(schema, node):
    return {**node, "protocol": schema["protocol"], "_skops_version": schema["_skops_version"]}


def with_root(made):
    return with_schema(lambda schema: root(schema, made))


def bomb(depth):
    """Return few bytes that stand for 2 ** depth objects, by identities that are used twice."""
    inner = {**items("list", text(0)), "__id__": 1}
    for k in range(2, depth):
        inner = {**items("list", inner, {"__id__": k - 1}), "__id__": k}
    return inner


def nested(depth):
    made = text(0)
    for _ in range(depth):
        made = items("list", made)
    return made


def deep(files):
    start = files["schema.json"][:-1]
    return {**files, "schema.json": start + b', "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"}


def overlapping(files):
    data = bytearray(packed(files))
    first = data.find(b"PK\1\2")
    second = data.find(b"PK\1\2", first + 1)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]  # where the entry begins
    return bytes(data)


def beyond(files):
    data = bytearray(packed(files))
    last = data.rfind(b"PK\1\2")
    data[last + 20 : last + 28] = struct.pack("<II", 2**31, 2**31)  # sizes
    return bytes(data)


def sparse_bomb(files):
    inner = packed({"data.npy": npy(np.zeros(10**7))}, zipfile.ZIP_DEFLATED)
    return {**files, "9.npz": inner}


ARRAY = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"
CASES = {
    "no archive": lambda files: b"hello",
    "empty": lambda files: b"",
    "a pickle": lambda files: pickle.dumps(LogisticRegression()),
    "cut": lambda files: packed(files)[:-200],
    "compressed": lambda files: packed(files, zipfile.ZIP_DEFLATED),
    "zip bomb": lambda files: packed({**files, "9.bin": bytes(10**8)}, zipfile.ZIP_DEFLATED),
    "zip bomb in a zip": sparse_bomb,
    "overlapping": overlapping,
    "beyond the end": beyond,
    "path upwards": lambda files: {**files, "../../evil.npy": b""},
    "absolute path": lambda files: {**files, "/etc/evil.npy": b""},
    "path of Windows": lambda files: {**files, "..\\evil.npy": b""},
    "no number": lambda files: {**files, "evil.npy": b""},
    "a pickle beside": lambda files: {**files, "0.pkl": pickle.dumps(1)},
    "one name twice": lambda files: packed([*files.items(), ("schema.json", files["schema.json"])]),
    "no schema": lambda files: {name: data for name, data in files.items() if name != "schema.json"},
    "nothing known": lambda files: {name: data for name, data in files.items() if name != "skfusion.json"},
    "schema is no JSON": lambda files: {**files, "schema.json": b"{"},
    "schema is a list": lambda files: {**files, "schema.json": b"[]"},
    "schema of no object": lambda files: {**files, "schema.json": b"{}"},
    "schema is binary": lambda files: {**files, "schema.json": b"\xff\xfe\0"},
    "schema is deep": deep,
    "objects are deep": with_root(nested(400)),
    "identities are a bomb": with_root(bomb(60)),
    "an object in itself": with_root({**items("list", {"__id__": 1}), "__id__": 1}),
    "an identity is text": with_root({**items("list", {"__id__": "a"}), "__id__": "a"}),
    "unknown kind of object": with_root(node("MagicNode", "builtins", "list", content=[])),
    "protocol of the future": with_schema(lambda schema: {**schema, "protocol": 10**6}),
    "protocol below zero": with_schema(lambda schema: {**schema, "protocol": -1}),
    "no estimator": with_root(items("list", text(1))),
    "a file that is not there": with_root(node("BytesNode", "builtins", "bytes", file="77.bin")),
    "a file outside": with_root(node("BytesNode", "builtins", "bytes", file="../../../etc/passwd")),
    "no array": with_array(b"hello"),
    "empty array": with_array(b""),
    "array of objects": with_array(npy(np.array([{}, 3], object), allow_pickle=True)),
    "array is huge": with_array(array_with(ARRAY % "(1000000000000,)")),
    "array is larger than its file": with_array(array_with(ARRAY % "(3,)", bytes(16))),
    "array is smaller than its file": with_array(array_with(ARRAY % "(3,)", bytes(32))),
    "array of less than nothing": with_array(array_with(ARRAY % "(-1, -3)", bytes(24))),
    "array of many axes": with_array(array_with(ARRAY % f"({'1,' * 100})", bytes(8))),
    "header is deep": with_array(array_with("(" * 5000 + ")" * 5000)),
    "header is code": with_array(array_with(ARRAY % "__import__('os').mkdir('evil')")),
    "header is long": with_array(array_with(ARRAY % f"(1,){' ' * 20000}", bytes(8))),
    "header has no end": with_array(b"\x93NUMPY\2\0" + b"\xff" * 4 + b"{}"),
    "header has wide types": with_array(array_with("{'descr': '<U2000000000', 'fortran_order': False, 'shape': (9,)}")),
    "header of another version": with_array(b"\x93NUMPY\xff\0" + b"\0" * 60),
}


@pytest.mark.parametrize("case", CASES)
def test_a_crafted_file_is_refused_and_named(pool_with, case, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    path, start = pool_with(CASES[case]), time.perf_counter()
    before = sorted(p.name for p in path.iterdir())
    for read in (lambda: ModelPool.load(path)["x"].estimator, lambda: DirectoryStore(path).get("x").estimator):
        with pytest.raises(PoolFormatError, match="member 'x'") as caught:
            read()
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 1500
        assert str(next(path.glob("estimator-*"))) in message
    assert ModelPool.load(path)["good"].state["w"][0, 0] == 3.0
    assert time.perf_counter() - start < 10
    assert sorted(p.name for p in path.iterdir()) == before
    assert os.listdir() == []


@pytest.mark.parametrize("case", CASES)
def test_a_crafted_file_cannot_be_copied_into_another_pool(pool_with, case, tmp_path_factory):
    loaded, target = ModelPool.load(pool_with(CASES[case])), tmp_path_factory.mktemp("copy")
    try:
        loaded.save(target)
    except PoolFormatError as error:
        assert "member 'x'" in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        assert not [*target.glob("estimator-*")]
    else:  # what only building it would tell
        with pytest.raises(PoolFormatError, match="member 'x'"):
            ModelPool.load(target)["x"].estimator  # noqa: B018


def call(module, name, *arguments):
    """Return crafted descriptions of a call."""
    args = items("tuple", *map(text, arguments))
    partial = {"func": node("FunctionNode", module, name), "args": args, "kwds": empty(), "namespace": empty()}
    state = {"content": empty(), "__reduce__": {"args": args}}
    return {
        "function": node("FunctionNode", module, name),
        "type": node("TypeNode", module, name),
        "partial": node("PartialNode", "functools", "partial", content=partial),
        "constructor": node("ConstructorFromReduceNode", module, name, content=args),
        "object": node("ObjectNode", module, name, content=empty()),
        "list": node("ListNode", module, name, content=[text(argument) for argument in arguments]),
        "tuple": node("TupleNode", module, name, content=[text(argument) for argument in arguments]),
        "set": node("SetNode", module, name, content=[text(argument) for argument in arguments]),
        "loss": node("LossNode", module, name, **state),
        "operator": node("OperatorFuncNode", "operator", "methodcaller", attrs=items("tuple", text(name))),
        "array": node("NdArrayNode", module, name, type="json", content=[], shape=items("tuple", text(0))),
        "dtype": node("DTypeNode", module, name, content=items("list")),
    }


def empty():
    return node("DictNode", "builtins", "dict", content={}, key_types=items("list"))


@pytest.mark.parametrize("kind", call("os", "mkdir"))
@pytest.mark.parametrize(("module", "name"), [("os", "mkdir"), ("builtins", "eval"), ("posix", "mkdir")])
def test_calls_are_not_made(pool_with, kind, module, name, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    crafted = call(module, name, "evil" if name == "mkdir" else "__import__('os').mkdir('evil')")[kind]

    def inside(schema):
        changed = copy.deepcopy(schema)
        changed["content"]["content"]["C"] = crafted  # the settings of the regression
        return changed

    for change in (with_root(crafted), with_schema(inside)):
        path = pool_with(change)
        with pytest.raises(PoolFormatError, match="member 'x'"):
            ModelPool.load(path)["x"].estimator  # noqa: B018
        assert os.listdir() == []


@pytest.mark.parametrize("module", ["torch.nn.modules.linear", "skorch.classifier", "torch", "skorch"])
def test_what_would_unpickle_is_refused_even_where_it_is_trusted(pool_with, module, tmp_path):
    name = f"{module}.NeuralNetClassifier"
    path = pool_with(with_root(node("ObjectNode", module, "NeuralNetClassifier", content=empty())))
    with pytest.raises(PoolFormatError, match=rf"member 'x'.*holds a {name}, whose parts would be unpickled"):
        ModelPool.load(path, trusted=[name])["x"].estimator  # noqa: B018


def test_pickles_in_an_archive_are_never_run(pool_with, tmp_path_factory):
    canary = tmp_path_factory.mktemp("run") / "canary"
    data = pickle.dumps(Evil(canary))
    array = npy(np.array([Evil(canary)], object), allow_pickle=True)
    for change in (
        lambda files: data,
        lambda files: {**files, "0.bin": data},
        with_array(data),
        with_array(array),
        with_array(array_with(ARRAY.replace("<f8", "|O") % "(1,)", data)),
        lambda files: {**files, "schema.json": data},
        lambda files: {**files, "skfusion.json": data},
        lambda files: {**files, "9.npz": packed({"data.npy": array})},
    ):
        path = pool_with(change)
        for read in (
            lambda path=path: ModelPool.load(path)["x"].estimator,
            lambda path=path: ModelPool.load(path, trusted=["sklearn.svm._classes.SVC"])["x"].estimator,
        ):
            try:
                assert isinstance(read(), LogisticRegression)  # where the pickle is beside it, and of no use
            except PoolFormatError as error:
                assert "member 'x'" in str(error)  # noqa: PT017
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            ModelPool.recover(path)
        assert not canary.exists()


def test_a_foreign_file_of_skops_is_refused_as_it_is(pool_with):
    path = pool_with(lambda files: skops.io.dumps(SVC().fit(X, Y)))
    with pytest.raises(PoolFormatError, match="member 'x', is damaged"):
        ModelPool.load(path)["x"].estimator  # noqa: B018


def test_a_hash_that_does_not_match_is_named_and_others_load(pool_with):
    path = pool_with(lambda files: files)
    assert ModelPool.load(path)["x"].estimator.predict(X).shape == (6,)
    (file,) = path.glob("estimator-*")
    data = bytearray(file.read_bytes())
    for place in range(0, len(data), 301):
        changed = data.copy()
        changed[place] ^= 1
        file.write_bytes(changed)
        loaded = ModelPool.load(path)
        with pytest.raises(PoolFormatError, match="member 'x', is damaged: its content has changed"):
            loaded["x"].estimator  # noqa: B018
        assert loaded["good"].state["w"][0, 0] == 3.0
