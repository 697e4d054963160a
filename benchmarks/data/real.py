"""Real data sets, as they ship inside PyPI packages (the ``bench`` extra).

Documents are made by ``json.loads`` of the package's own file: within one document a key is one object, and none is interned.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .rows import row


@cache
def read(module: str, *path: str) -> bytes:
    """A file inside an installed package, without importing the package."""
    origin = find_spec(module).origin
    return Path(origin).parent.joinpath(*path).read_bytes()


@row("real", "28k airports: records of text and numbers", n=100_000, renew=True, package="airportsdata", module="airportsdata")
def airports(n):
    """Keys are one object each, as csv.DictReader makes them."""
    rows = csv.DictReader(io.StringIO(read("airportsdata", "airports.csv").decode()))
    return [{**r, "elevation": float(r["elevation"]), "lat": float(r["lat"]), "lon": float(r["lon"])} for r, _ in zip(rows, range(n))]


@row("real", "8k languages: records with missing keys", n=100_000, renew=True, package="pycountry", module="pycountry")
def languages(n):
    return json.loads(read("pycountry", "databases", "iso639-3.json"))["639-3"][:n]


@row("real", "250 countries: one JSON document each, with borders", n=1000, renew=True, package="countryinfo", module="countryinfo")
def countries(n):
    return [json.loads(text) for text in country_files()[:n]]


@cache
def country_files() -> list[bytes]:
    folder = Path(find_spec("countryinfo").origin).parent / "data"
    return [path.read_bytes() for path in sorted(folder.glob("*.json"))]


@row("real", "the JSON schema of Vega-Lite: one nested document", n=10_000, package="altair", module="altair")
def vega_lite_schema(n):
    """Its first `n` definitions."""
    folder = Path(find_spec("altair").origin).parent / "vegalite"
    latest = max(path.parts[-3] for path in folder.glob("v*/schema/vega-lite-schema.json"))
    schema = json.loads(read("altair", "vegalite", latest, "schema", "vega-lite-schema.json"))
    schema["definitions"] = dict(list(schema["definitions"].items())[:n])
    return schema


@row("real", "six lists of words by frequency", n=100_000, package="zxcvbn", module="zxcvbn")
def word_lists(n):
    lists = import_module("zxcvbn.frequency_lists").FREQUENCY_LISTS
    return {name: ",".join(words).split(",")[:n] for name, words in lists.items()}


@row("real", "emoji and their names in ten languages", n=10_000, renew=True, package="emoji", module="emoji")
def emoji_names(n):
    languages = ["ar", "de", "es", "fr", "it", "ja", "ko", "pt", "ru", "zh"]
    files = {language: read("emoji", "unicode_codes", f"emoji_{language}.json") for language in languages}
    files["all"] = read("emoji", "unicode_codes", "emoji.json")
    return {language: dict(list(json.loads(text).items())[:n]) for language, text in files.items()}


@row("real", "47k Chinese phrases to lists of readings", n=100_000, renew=True, package="pypinyin", module="pypinyin")
def phrases(n):
    return dict(list(json.loads(read("pypinyin", "phrases_dict.json")).items())[:n])


@row("real", "three photographs", n=3, package="matplotlib", module="matplotlib")
def photographs(n):
    from PIL import Image

    files = [("sklearn", "datasets", "images", "china.jpg"), ("sklearn", "datasets", "images", "flower.jpg"),
             ("matplotlib", "mpl-data", "sample_data", "grace_hopper.jpg")]
    return [np.array(Image.open(io.BytesIO(read(*file)))) for file in files[:n]]


@row("real", "1,797 digits: records of an 8 x 8 image and its class", n=2_000, package="scikit-learn", module="sklearn")
def digits(n):
    table = np.loadtxt(io.BytesIO(gzip.decompress(read("sklearn", "datasets", "data", "digits.csv.gz"))), delimiter=",")
    return [{"image": line[:-1].reshape(8, 8).copy(), "target": int(line[-1])} for line in table[:n]]


@row("real", "breast cancer: 569 rows of 30 features", n=1_000, package="scikit-learn", module="sklearn")
def breast_cancer(n):
    lines = read("sklearn", "datasets", "data", "breast_cancer.csv").decode().splitlines()[1 : n + 1]
    return [(*map(float, line.split(",")[:-1]), int(line.split(",")[-1])) for line in lines]


@row("real", "elevation of the sea floor, with its axes", n=10_000, package="matplotlib", module="matplotlib")
def elevation(n):
    with np.load(io.BytesIO(read("matplotlib", "mpl-data", "sample_data", "topobathy.npz"))) as file:
        return {name: file[name][:n] for name in file.files}


@row("real", "share prices: a structured array", n=10_000, package="matplotlib", module="matplotlib")
def share_prices(n):
    with np.load(io.BytesIO(read("matplotlib", "mpl-data", "sample_data", "goog.npz"))) as file:
        return {name: file[name][:n] for name in file.files}
