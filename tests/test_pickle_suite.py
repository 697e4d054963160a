"""CPython's own tests of pickle, as the running interpreter has them, over fastser: what pickle keeps, fastser keeps.

Which of them look at pickle's bytes, not at what comes back, is found by controls: pickle and cloudpickle with their bytes compressed.
What fails for a control says nothing about another format. Those tests are listed, with the reason, and the list is held to be exact.
"""

import pickle
import random
import unittest
import zlib

import cloudpickle
import pytest

import fastser

pickletester = pytest.importorskip("test.pickletester", reason="this interpreter comes without its test package")

SKIPPED = {
    "looks at pickle's bytes": """
        test_appends_on_non_lists test_bad_proto test_bytearray test_compat_pickle test_complex_newobj test_complex_newobj_ex test_dict_chunking
        test_float_format test_framing_large_objects test_framing_many_objects test_global_ext1 test_global_ext2 test_global_ext4
        test_in_band_buffers test_int_pickling_efficiency test_list_chunking test_long1 test_long4 test_optional_frames
        test_pickle_to_2x test_proto test_set_chunking test_setitems_on_non_dicts test_short_tuples test_simple_newobj
        test_singletons
    """,
    "is about protocols before 5": """
        test_bad_getattr test_nonencodable_global_name_error test_nonencodable_module_name_error test_picklebuffer_error
    """,
    "is about the options of pickle.dumps and pickle.loads": """
        test_buffer_callback_error test_buffers_error test_buffers_numpy test_callapi test_dump_load_oob_buffers
        test_dumps_loads_oob_buffers test_inband_accept_default_buffers_argument test_oob_buffers
        test_oob_buffers_writable_to_readonly
    """,
    "is about the classes Pickler and Unpickler": """
        test_bad_init test_evil_pickler_mutating_collection test_framed_write_sizes_with_delayed_writer test_pickler_bad_file
        test_unpickler_bad_file test_wrong_newobj_ex_class test_concurrent_mutation_in_buffer_with_bytearray
        test_concurrent_mutation_in_buffer_with_memoryview
    """
    + " ".join(
        f"test_{what}_{kind}" for what in ("deep_nested_struct", "fast_save_enter") for kind in "dict frozendict frozenset list set tuple".split()
    ),
}

# Skipped although they say something: str and bytes have no identity to keep, extension codes are not written, and a PickleBuffer comes
# back as a view of the memory that it lies in.
UNPROMISED = """
    test_bytes_memoization test_unicode_memoization test_bad_ext_code test_empty_picklebuffer_memoization test_picklebuffer_memoization
"""

# By value, skipped as well: cloudpickle carries what these want to see refused, local functions and classes and descriptors of methods.
CARRIED = """
    test_c_methods test_local_lookup_error test_py_methods test_unpickleable_newobj_class test_unpickleable_newobj_ex_class
"""
# Without references, skipped as well: these are about the identity of what they pack.
IDENTITY = "test_bytearray_memoization test_bytearray_memoization_bug test_identity_of_buffer_like_objects " + " ".join(
    name for name in dir(pickletester.AbstractPickleTests) if name.startswith("test_recursive_") and name != "test_recursive_nested_names"
)

# Where the controls themselves are at odds: cloudpickle alone disregards what copyreg says of a metaclass (this is not skipped), and
# Python 3.10 alone asks an instance's own __getattr__ for __getstate__ (this is).
AT_ODDS = {"test_dynamic_class", "test_bad_getattr"}


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("suite"))  # some tests write files where they are
        # There is one protocol here; as many of them as before, since some tests take a slice.
        patch.setattr(pickletester, "protocols", [5] * len(pickletester.protocols))
        yield


class Suite(pickletester.AbstractPickleTests, pickletester.AbstractPickleModuleTests):
    def setUp(self):
        super().setUp()
        random.seed(5)  # one test mutates what is being packed, now and then

    def test_buffer_like_objects(self):
        """What the suite's own tests of these expect but for their opcodes: the memory as it lies, in whatever order."""
        for obj in self.buffer_like_objects():
            loaded = self.loads(self.dumps(obj))
            self.assertIs(type(loaded), type(obj))
            self.assertEqual(loaded, obj)

    def test_identity_of_buffer_like_objects(self):
        for make in (pickletester.ZeroCopyBytes, pickletester.ZeroCopyBytearray):
            for content in (b"", b"xyz", b"xyz" * 1000):
                first, same, other = self.loads(self.dumps((obj := make(content), obj, make(content))))
                self.assertIs(first, same)
                self.assertIsNot(first, other)
                self.assertEqual((type(first), type(other)), (make, make))
                self.assertEqual((first, other), (content, content))


def without_old_protocols(test):
    """A test of slots, but that protocols before 2 refuse them."""

    def run(self):
        self.assertRaises = lambda error, dumps, obj, protocol: self.assertIn(protocol, (0, 1))
        test(self)

    return run


for name in ("test_object_with_slots", "test_object_with_private_slots"):  # from Python 3.14 on
    if hasattr(Suite, name):
        setattr(Suite, name, without_old_protocols(getattr(Suite, name)))


class ErrorsSuite(getattr(pickletester, "AbstractPicklingErrorTests", object)):  # from Python 3.13 on
    """Which errors there are, and what else they are errors of. How they are worded is pickle's own, from 3.14 on with notes on the way."""

    pickler = None  # is asked only whether it is the one written in Python

    def assertEqual(self, first, second, msg=None):
        if not is_wording(second):
            super().assertEqual(first, second, msg)

    def assertIn(self, member, container, msg=None):
        if not all(map(is_wording, container)):
            super().assertIn(member, container, msg)


def is_wording(expected):
    """Whether it is the text of an error, or the notes of one."""
    return type(expected) is str or (type(expected) is list and all(type(note) is str for note in expected))


# --- fastser -----------------------------------------------------------------------------------------------------------


class Fastser:
    serializer = fastser.Serializer(fallback="pickle")

    def dumps(self, obj, protocol=None):
        try:
            return self.serializer.dumps(obj)
        except fastser.EncodeError as error:
            refused = error.__cause__ or error
        refused.__dict__.setdefault("__notes__", [])  # they are looked for
        raise refused

    def loads(self, data):
        try:
            return self.serializer.loads(data)
        except fastser.DecodeError as error:
            raise error.__cause__ or error

    def dump(self, obj, file, protocol=None):
        self.serializer.dump(obj, file)

    def load(self, file):
        return self.serializer.load(file)


class ByValue(Fastser):
    serializer = fastser.Serializer()


class WithoutReferences(Fastser):
    serializer = fastser.Serializer(fallback="pickle", track_refs=False)


class InRuns(Fastser):
    """Every object among copies of it, and more than once."""

    def dumps(self, obj, protocol=None):
        try:
            copies = [pickle.loads(pickle.dumps(obj, 5)) for _ in range(2)]
        except Exception:
            copies = []
        return super().dumps([*copies, obj, [obj], {"obj": obj, "other": [obj]}, {"obj": obj, "other": ()}])

    def loads(self, data):
        *_, obj, nested, first, second = super().loads(data)
        self.assertEqual([type(other) for other in (nested, first, second)], [list, dict, dict])
        return obj


# --- controls ----------------------------------------------------------------------------------------------------------


class Control:
    dumper = staticmethod(pickle.dumps)

    def dumps(self, obj, protocol=None):
        return zlib.compress(self.dumper(obj, 5), 0)

    def loads(self, data):
        try:
            data = zlib.decompress(data)
        except zlib.error as error:
            raise pickle.UnpicklingError from error
        return pickle.loads(data)

    def dump(self, obj, file, protocol=None):
        file.write(self.dumps(obj))

    def load(self, file):
        return self.loads(file.read())


class ControlByValue(Control):
    dumper = staticmethod(cloudpickle.dumps)


# --- the tests ---------------------------------------------------------------------------------------------------------


def skipped(suite, over):
    reasons = {name: reason for reason, names in SKIPPED.items() for name in names.split()}
    if issubclass(over, (ByValue, ControlByValue)):
        reasons |= dict.fromkeys(CARRIED.split(), "cloudpickle carries what it wants to see refused")
    if issubclass(over, Fastser):
        reasons |= dict.fromkeys(UNPROMISED.split(), "is not promised")
    if issubclass(over, WithoutReferences):
        reasons |= dict.fromkeys(IDENTITY.split(), "is about identity")
    return {name: reason for name, reason in reasons.items() if hasattr(suite, name)}


def case(suite, over):
    """The tests of `suite` over `over`, but for those that are listed; these are reported as skipped once, over `Fastser`."""
    namespace = dict.fromkeys(skipped(suite, over))
    if over is Fastser:
        namespace = {name: unittest.skip(reason)(getattr(suite, name)) for name, reason in skipped(suite, over).items()}
    return type(f"Test{suite.__name__}{over.__name__}", (over, suite, unittest.TestCase), namespace)


for over in (Fastser, ByValue, WithoutReferences):
    for suite in (Suite, ErrorsSuite):
        globals()[f"Test{suite.__name__}{over.__name__}"] = case(suite, over)
TestSuiteInRuns = case(Suite, InRuns)  # copies of what pickle refuses there are none


@pytest.mark.parametrize("suite", [Suite, ErrorsSuite])
@pytest.mark.parametrize("control", [Control, ControlByValue])
def test_what_is_skipped_says_nothing_about_another_format(suite, control):
    failed = set()
    cls = type(control.__name__, (control, suite, unittest.TestCase), {})
    for name in unittest.TestLoader().getTestCaseNames(cls):
        result = unittest.TestResult()
        cls(name).run(result)
        if result.failures or result.errors or result.skipped:
            failed.add(name)
    assert failed - AT_ODDS == set(skipped(suite, control)) - AT_ODDS
