import pydantic


class Model(pydantic.BaseModel):
    id: int
    name: str
    price: float
