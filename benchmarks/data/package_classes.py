"""Classes that packages build from their users' statements: importable, so that they go by name."""

import attrs
import msgspec
import pydantic


@attrs.frozen
class Frozen:
    number: int
    name: str
    price: float


class Model(pydantic.BaseModel):
    id: int
    name: str
    price: float


class Struct(msgspec.Struct):
    id: int
    name: str
    price: float
