import attrs


@attrs.frozen
class Frozen:
    number: int
    name: str
    price: float
