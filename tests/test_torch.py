"""PyTorch: tensors, the storages they share, modules and optimizers. CI does without torch; install it to run these."""

import copy
import io
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

import fastser

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*quantiz:UserWarning", "ignore:ComplexHalf:UserWarning", "ignore:Sparse:UserWarning", "ignore:.*nested:UserWarning"
)

DTYPES = sorted((value for value in vars(torch).values() if isinstance(value, torch.dtype)), key=str)
PLAIN = [dtype for dtype in dict.fromkeys(DTYPES) if not str(dtype).startswith(("torch.q", "torch.bits"))]


def again(obj, **options):
    return fastser.loads(fastser.dumps(obj, **options))


def octets(tensor):
    """The bytes of its elements, whatever their dtype."""
    part = tensor.detach().contiguous().reshape(-1)
    return part.view(torch.uint8).numpy().tobytes() if part.numel() else b""


def same_tensor(expected, found):
    assert type(found) is type(expected)
    assert (found.dtype, found.shape, found.stride()) == (expected.dtype, expected.shape, expected.stride())
    assert (found.requires_grad, found.is_leaf) == (expected.requires_grad, True)
    assert octets(found) == octets(expected)
    return True


def storage_of(tensor):
    return tensor.untyped_storage()._cdata


def span(buffer):
    """The addresses that a buffer covers."""
    start = np.frombuffer(buffer, np.uint8).ctypes.data
    return range(start, start + memoryview(buffer).nbytes)


# --- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3, 1000])
@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_every_dtype(dtype, count):
    size = torch.empty(0, dtype=dtype).element_size()
    bits = torch.from_numpy(np.random.default_rng(80).integers(0, 2, count * size, np.uint8))
    tensor = torch.empty(0, dtype=dtype).set_(bits.untyped_storage(), 0, (count,), (1,))
    assert same_tensor(tensor, again(tensor))
    assert same_tensor(tensor, fastser.loads(bytearray(fastser.dumps(tensor))))


LAYOUTS = {
    "scalar": lambda: torch.tensor(2.5),
    "no elements": lambda: torch.empty(3, 0, 2),
    "no elements far behind": lambda: torch.arange(100)[100:],
    "matrix": lambda: torch.randn(30, 40),
    "transposed": lambda: torch.randn(30, 40).T,
    "permuted": lambda: torch.randn(3, 4, 5, 6).permute(2, 0, 3, 1),
    "channels last": lambda: torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last),
    "expanded": lambda: torch.tensor([1.5]).expand(5, 1_000),
    "steps": lambda: torch.arange(1000)[3:900:7],
    "a column": lambda: torch.randn(100, 50)[:, 7],
    "behind an offset": lambda: torch.arange(999, dtype=torch.int16)[13:801],
    "overlapping windows": lambda: torch.arange(100.0).unfold(0, 10, 3),
    "over an array": lambda: torch.from_numpy(np.arange(12.0).reshape(3, 4)),
}


@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("held", [False, True], ids=["alone", "beside its base"])
def test_shapes_and_strides(make, held):
    tensor = make()
    base = tensor.untyped_storage() if held else None
    found = again(tensor)
    assert same_tensor(tensor, found)
    assert (found.untyped_storage().nbytes() == base.nbytes()) if held else True
    assert found.storage_offset() == (tensor.storage_offset() if held else 0)


def test_small_tensors_in_a_run():
    tensors = [torch.full((i % 3, 2), i % 100, dtype=(torch.float32, torch.int8)[i % 2], requires_grad=i % 4 == 0) for i in range(200)]
    assert all(map(same_tensor, tensors, again(tensors)))
    assert all(map(same_tensor, tensors, fastser.loads(bytearray(fastser.dumps(tensors)))))


def test_what_requires_a_gradient():
    leaf = torch.randn(3, requires_grad=True)
    product = leaf * 2
    leaf.grad = torch.ones(3)
    found = again([leaf, product])
    # As with pickle: the graph and the gradient stay behind.
    assert [(t.requires_grad, t.is_leaf, t.grad) for t in found] == [(True, True, None)] * 2
    found[1].sum().backward()
    assert found[1].grad.tolist() == [1, 1, 1]


@pytest.mark.parametrize("value", [torch.float32, torch.Size([2, 3]), torch.device("cpu"), torch.strided, torch.channels_last], ids=str)
def test_what_describes_tensors(value):
    found = again([value, value])
    assert found == [value, value]
    assert type(found[0]) is type(value)


# --- memory ------------------------------------------------------------------------------------------------------------


def test_tensors_go_by_reference():
    tensor, storage = torch.randn(100, 100), torch.randn(50, 50)
    packed = fastser.pack([tensor.T, storage[3:], storage[5:].untyped_storage()])
    addresses = [span(buffer).start for buffer in packed.buffers()]
    assert tensor.data_ptr() in addresses
    assert addresses.count(storage.data_ptr()) == 1
    tensor[0, 0] = 42
    assert fastser.loads(packed)[0][0, 0] == 42


def test_over_writable_memory_tensors_are_views():
    frame = bytearray(fastser.dumps([torch.arange(1000), torch.ones(4)]))
    large, little = fastser.loads(frame)
    assert large.data_ptr() in span(frame) and little.data_ptr() not in span(frame)  # small ones are copies
    large[0], little[0] = -7, -8.0
    assert [tensor[0].item() for tensor in fastser.loads(frame)] == [-7, 1.0]


@pytest.mark.parametrize("read", [bytes, memoryview, fastser.pack], ids=["bytes", "memoryview", "Packed"])
def test_over_read_only_memory_tensors_are_copies(read):
    tensor = torch.arange(1000)
    source = fastser.pack(tensor) if read is fastser.pack else read(fastser.dumps(tensor))
    with warnings.catch_warnings(action="error"):
        found = fastser.loads(source)
    found.zero_()
    assert fastser.loads(source).equal(torch.arange(1000))
    assert tensor.equal(torch.arange(1000))


def test_private_mappings_of_files_and_stores_are_viewed(tmp_path):
    tensor = torch.arange(100_000)
    fastser.dump(tensor, tmp_path / "t")
    mapped, other = (fastser.load(tmp_path / "t", mmap_mode="c") for _ in range(2))
    assert not mapped.untyped_storage().resizable()
    mapped[0] = -1
    assert (other[0], fastser.load(tmp_path / "t")[0]) == (0, 0)
    assert fastser.load(tmp_path / "t", mmap_mode="r").equal(tensor)
    if sys.platform != "linux":
        return
    with fastser.ObjectStore.create(capacity="4MiB") as store:
        ref = store.put({"t": tensor})
        private = store.get(ref, mode="c")["t"]
        private[0] = -1
        assert store.get(ref)["t"].equal(tensor)
        del private


def test_the_copy_keeps_what_is_shared():
    base = torch.zeros(1000)
    found, part = again([base, base[10:20]])
    part += 1
    assert found[10:20].tolist() == [1] * 10
    assert found.sum() == 10


def test_a_storage_is_held_while_it_is_packed():
    tensor = torch.ones(1000)
    packed = fastser.pack(tensor)
    with pytest.raises(RuntimeError, match="not resizable"):
        tensor.untyped_storage().resize_(8_000_000)
    del tensor
    assert fastser.loads(packed).sum() == 1000


def test_a_tensor_that_alone_has_its_storage_packs_what_it_shows():
    part = torch.arange(1_000_000)[10:15]
    assert len(fastser.dumps(part)) < 300
    assert again(part).tolist() == [10, 11, 12, 13, 14]
    assert again(part).untyped_storage().nbytes() == 40


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("other", [torch.Tensor.untyped_storage, torch.Tensor._typed_storage, torch.Tensor.detach, torch.Tensor.numpy])
def test_a_storage_that_others_have_too_goes_whole(other):
    part = torch.arange(100_000)[10:15]
    held = other(part)
    assert len(fastser.dumps(part)) > 800_000
    found, same = again([part, held])
    found[0] = -1
    if isinstance(held, np.ndarray):
        assert same.tolist() == [10, 11, 12, 13, 14]  # between packages nothing is shared
    else:
        assert same[80 if type(same) is torch.UntypedStorage else 10 if len(same) > 5 else 0] in (-1, 255)


# --- identity ----------------------------------------------------------------------------------------------------------


def test_views_of_one_storage_are_so_again():
    base = torch.arange(12.0).reshape(3, 4)
    data = [base, base[1], base.T, base.view(torch.int32), base[::2, 1:3], base.untyped_storage(), base, torch.arange(12.0)]
    found = again(data)
    assert len({storage_of(tensor) for tensor in found[:5]} | {found[5]._cdata}) == 1
    assert storage_of(found[7]) != storage_of(found[0])
    assert found[6] is found[0]
    assert [t.storage_offset() for t in found[:5]] == [t.storage_offset() for t in data[:5]] == [0, 4, 0, 0, 1]
    found[1][0] = 100
    assert found[0][1, 0] == found[2][0, 1] == 100
    # As with torch.save, and unlike pickle.
    file = io.BytesIO()
    torch.save(data[:2], file)
    file.seek(0)
    assert len({storage_of(tensor) for tensor in torch.load(file)}) == 1


def test_trees_share_nothing():
    base = torch.arange(6)
    one, two = again([base, base[2:]], track_refs=False)
    assert storage_of(one) != storage_of(two)
    assert (one.tolist(), two.tolist()) == ([0, 1, 2, 3, 4, 5], [2, 3, 4, 5])


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_typed_storages():
    tensor = torch.arange(5, dtype=torch.bfloat16)
    typed, found, untyped = again([tensor._typed_storage(), tensor, tensor.untyped_storage()])
    assert (type(typed), typed.dtype, typed.tolist()) == (torch.storage.TypedStorage, torch.bfloat16, [0, 1, 2, 3, 4])
    assert storage_of(found) == typed._untyped_storage._cdata == untyped._cdata
    assert again(torch.FloatStorage([1, 2])).tolist() == [1, 2]


# --- modules -----------------------------------------------------------------------------------------------------------


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(20, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.inner = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.GRU(8, 8))
        self.head = torch.nn.Linear(8, 20, bias=False)
        self.head.weight = self.embed.weight  # tied
        self.frozen = torch.nn.Parameter(torch.arange(3), requires_grad=False)

    def forward(self, tokens):
        return self.head(self.inner(self.norm(self.embed(tokens)))[0])


def step(net, optimizer, tokens):
    optimizer.zero_grad()
    loss = net(tokens).square().sum()
    loss.backward()
    optimizer.step()
    return loss.item()


def same_state(expected, found):
    assert type(found) is type(expected)
    assert list(found) == list(expected)
    assert found._metadata == expected._metadata
    return all(same_tensor(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_training_goes_on_where_it_was(kind):
    torch.manual_seed(81)
    net, tokens = Net(), torch.randint(20, (5,))
    optimizer = kind(net.parameters(), lr=0.1)
    step(net, optimizer, tokens)
    found, other = again([net, optimizer])
    assert type(found) is Net
    assert same_state(net.state_dict(), found.state_dict())
    assert found.head.weight is found.embed.weight
    assert type(found.frozen) is torch.nn.Parameter
    assert all(a is b for a, b in zip(other.param_groups[0]["params"], found.parameters(), strict=True))
    assert [step(found, other, tokens) for _ in range(3)] == [step(net, optimizer, tokens) for _ in range(3)]


def test_state_dicts():
    net = Net()
    state = net.state_dict()
    for found in again(state), fastser.loads(bytearray(fastser.dumps(state))):
        assert same_state(state, found)
        assert storage_of(found["head.weight"]) == storage_of(found["embed.weight"])
        fresh = Net()
        fresh.load_state_dict(found)
        assert same_state(state, fresh.state_dict())
    step(fresh, optimizer := torch.optim.Adam(fresh.parameters()), torch.arange(5))
    found = again(optimizer.state_dict())
    assert found["param_groups"] == optimizer.state_dict()["param_groups"]
    expected = optimizer.state_dict()["state"]
    assert found["state"].keys() == expected.keys()
    assert all(same_tensor(value, found["state"][i][name]) for i, values in expected.items() for name, value in values.items())


def test_generators_go_on():
    generator = torch.Generator().manual_seed(82)
    found = again(generator)
    assert torch.rand(3, generator=found).equal(torch.rand(3, generator=generator))


# --- what torch's own reducers carry ---------------------------------------------------------------------------------------


class Marked(torch.Tensor):
    pass


def marked():
    tensor = torch.arange(3.0).as_subclass(Marked)
    tensor.mark = ["a", tensor.shape]
    return tensor


def attributed(make):
    tensor = make()
    tensor.note = "by hand"
    return tensor


OTHERS = {
    "sparse": lambda: torch.sparse_coo_tensor([[0, 2], [1, 0]], [1.5, 2.5], (3, 3)).coalesce(),
    "compressed rows": lambda: torch.tensor([[0, 1.5], [2.5, 0]]).to_sparse_csr(),
    "quantized": lambda: torch.quantize_per_tensor(torch.arange(4.0), 0.5, 1, torch.quint8),
    "quantized by channels": lambda: torch.quantize_per_channel(
        torch.ones(2, 2), torch.tensor([0.5, 1]), torch.tensor([0, 1]), 0, torch.qint8
    ),
    "meta": lambda: torch.empty(3, 4, device="meta").T,
    "nested": lambda: torch.nested.nested_tensor([torch.arange(2.0), torch.arange(3.0)]),
    "conjugated": lambda: torch.tensor([1 + 2j, 3 - 1j]).conj(),
    "negated": lambda: torch.tensor([1 + 2j]).conj().imag,
    "subclass": marked,
    "with attributes": lambda: attributed(lambda: torch.ones(2)),
    "parameter with attributes": lambda: attributed(lambda: torch.nn.Parameter(torch.ones(2))),
    "buffer": lambda: torch.nn.Buffer(torch.ones(2)),
    "parameter without data": torch.nn.UninitializedParameter,
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_other_tensors_come_back_as_by_pickle(make):
    tensor = make()
    expected, found = pickle.loads(pickle.dumps(tensor)), again([tensor])[0]
    assert type(found) is type(expected) is type(tensor)
    assert repr(found) == repr(expected) == repr(tensor)
    assert (found.dtype, found.layout, found.device) == (tensor.dtype, tensor.layout, tensor.device)
    if not isinstance(tensor, torch.nn.UninitializedParameter):
        assert (found.is_conj(), found.is_neg()) == (tensor.is_conj(), tensor.is_neg())
        assert {name: value for name, value in found.__dict__.items() if name != "_backward_hooks"} == tensor.__dict__


def test_their_storages_go_by_reference_too():
    tensor = attributed(lambda: torch.randn(5000))
    sparse = torch.sparse_coo_tensor(torch.arange(5000)[None], torch.randn(5000), (9000,))
    addresses = [span(buffer).start for buffer in fastser.pack([tensor, sparse]).buffers()]
    assert tensor.data_ptr() in addresses
    assert sparse._values().data_ptr() in addresses
    found = again([tensor, tensor[5:]])
    assert storage_of(found[0]) == storage_of(found[1])


def test_hooks_of_tensors_stay_behind_with_a_warning():
    tensor = torch.ones(2, requires_grad=True)
    tensor.register_hook(lambda gradient: gradient * 2)
    with pytest.warns(UserWarning, match="hooks"):
        found = again(tensor)
    found.sum().backward()
    assert found.grad.tolist() == [1, 1]


# --- readers -----------------------------------------------------------------------------------------------------------


def test_a_reader_that_has_not_imported_torch():
    frame = fastser.dumps([torch.arange(3), torch.nn.Parameter(torch.ones(2))])
    program = "import fastser, sys; print('torch' in sys.modules, *fastser.loads(sys.stdin.buffer.read()))"
    done = subprocess.run([sys.executable, "-c", program], input=frame, capture_output=True, check=True)
    assert done.stdout.decode().split("\n")[0] == "False tensor([0, 1, 2]) Parameter containing:"


def test_a_default_device_does_not_matter():
    tensor = torch.arange(3)
    with torch.device("meta"):
        frame = fastser.dumps([tensor, tensor[1:]])
        found = fastser.loads(frame)
    assert [t.tolist() for t in found] == [[0, 1, 2], [1, 2]]


def test_explain_names_the_hook():
    part = fastser.explain([torch.arange(3)]).children[0]
    assert (part.plan, part.type_name) == ("HOOK", "torch.Tensor")
    part = fastser.explain([torch.empty(3, device="meta")]).children[0]
    assert part.plan == "REDUCE"


def test_safe_loading_refuses_tensors_unless_allowed():
    tensor = torch.arange(3)
    frame = fastser.dumps({"w": tensor[:]})
    with pytest.raises(fastser.UnsafeDataError, match=r"torch\.UntypedStorage"):
        fastser.loads(frame, safe=True)
    for allow in ([torch.Tensor], ["torch.Tensor"]):
        with pytest.raises(fastser.UnsafeDataError, match=r"torch\.UntypedStorage"):
            fastser.loads(frame, safe=True, allow=allow)
        assert fastser.loads(frame, safe=True, allow=[*allow, torch.UntypedStorage])["w"].tolist() == [0, 1, 2]


class Forged:
    """Packs what it likes under the name of a hook of torch's."""

    def __init__(self, payload):
        self.payload = payload


def forged(payload, name="torch.Tensor"):
    serializer = fastser.Serializer()
    serializer.register(Forged, lambda forged: forged.payload, Forged, name=name)
    return serializer.dumps(Forged(payload))


GOOD = (np.arange(4.0), "float64", 0, (4,), (1,), False)


def test_the_forged_frame_is_well_made():
    assert same_tensor(torch.arange(4, dtype=torch.float64), fastser.loads(forged(GOOD)))


@pytest.mark.parametrize(
    "at, value, message",
    [
        (0, "storage", "str"),
        (0, np.array(["a", None], object), "references"),
        (1, "int7000", "int7000"),
        (1, "load", "torch.load is not a dtype"),
        (2, 1, "resiz|bounds"),
        (2, -1, "offset"),
        (3, (5,), "resiz|bounds"),
        (3, (1 << 62, 1 << 62), "overflow|stride|resiz|length"),
        (4, (2,), "resiz|bounds"),
        (4, (-1,), "overflow"),
        (5, "yes", "bool"),
    ],
)
def test_forged_payloads_are_refused(at, value, message):
    payload = GOOD[:at] + (value,) + GOOD[at + 1 :]
    for frame in forged(payload), bytearray(forged(payload)):
        with pytest.raises(fastser.DecodeError, match=message):
            fastser.loads(frame)


def test_copies_of_copies():
    tensor = copy.deepcopy(torch.arange(3))
    assert same_tensor(tensor, again(again(again(tensor))))
