import sys
from typing import Final, final

from typing_extensions import Buffer

AVAILABLE: Final[bool]
SMALL: Final[int]
HEADER: Final[int]
NAME_LIMIT: Final[int]

@final
class Mapping(Buffer):
    def __new__(
        cls, fd: int, size: int, start: int, length: int, *, writable: bool = False, private: bool = False, populate: bool = False
    ) -> Mapping: ...
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...

    def unmap(self) -> None: ...
    def replace(self, fd: int, *, shared: bool) -> None: ...

def lock(fd: int, *, exclusive: bool, wait: bool = True) -> bool: ...
def unlock(fd: int) -> None: ...
def segment_header(name: str, length: int) -> bytes: ...
def fetch(
    directory: int, name: str, *, private: bool = False, touch: bool = False
) -> bytes | bytearray | Mapping | None: ...
