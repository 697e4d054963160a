"""Any list of objects comes back from Parquet and from Polars, a row for each."""

import io

import pytest
from same import same
from test_roundtrip_properties import DATA

import fastser

hypothesis = pytest.importorskip("hypothesis")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
st = hypothesis.strategies

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

OBJECTS = st.lists(DATA, max_size=8)


@hypothesis.settings(max_examples=60)
@hypothesis.given(OBJECTS, st.booleans())
def test_through_parquet(objects, large):
    table = pa.table(fastser.pack_many(objects, large=large))
    table.validate(full=True)
    file = io.BytesIO()
    parquet.write_table(table, file)
    for obj, found in zip(objects, fastser.loads_many(parquet.read_table(file)), strict=True):
        assert same(obj, found)


@hypothesis.settings(max_examples=40)
@hypothesis.given(OBJECTS)
def test_through_polars(objects):
    polars = pytest.importorskip("polars")
    for obj, found in zip(objects, fastser.loads_many(polars.DataFrame(fastser.pack_many(objects))), strict=True):
        assert same(obj, found)
