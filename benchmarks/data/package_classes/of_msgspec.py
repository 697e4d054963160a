import msgspec


class Struct(msgspec.Struct):
    id: int
    name: str
    price: float
