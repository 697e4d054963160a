"""PyTorch: tensors and parameters in the memory of the processor, and the storages that they are views of.

A storage goes as one array, by reference, and tensors refer to it, so those that were views of one storage are so again. What is
not here (sparse, quantized and conjugated tensors, subclasses, tensors with attributes) goes by torch's own reducers, which
lead back to storages.
"""

import math
import sys
from typing import Any

import numpy as np
import torch
from torch.storage import TypedStorage, UntypedStorage

from fastser.hooks import Hook

_WIDEST = 8  # bytes of the widest integer that NumPy has: what aligns every element of a tensor


def _array_of(storage: UntypedStorage, start: int, stop: int, width: int) -> np.ndarray[Any, Any]:
    """The bytes of a storage from `start` to `stop`, as integers of `width` bytes so that a reader finds them aligned."""
    octets = torch.empty(0, dtype=torch.uint8, device="cpu").set_(storage)
    # As long as a NumPy array views a storage, it must not be resized: NumPy's protocol of torch sees to that.
    units: np.ndarray[Any, Any] = octets.numpy()[start:stop].view(f"u{width}")
    return units


def _storage_of(array: np.ndarray[Any, Any]) -> UntypedStorage:
    """A storage that views an array; a copy where the array is read-only, as torch has no read-only memory."""
    if not array.flags.writeable:
        array = array.copy()
    return torch.from_numpy(array.view(np.uint8)).untyped_storage()


# --- storages ----------------------------------------------------------------------------------------------------------


def _encode_storage(storage: UntypedStorage) -> Any:
    if storage.device.type != "cpu":
        return NotImplemented
    size = storage.nbytes()
    return _array_of(storage, 0, size, math.gcd(size, _WIDEST))


def _encode_typed_storage(storage: TypedStorage) -> Any:
    return storage._untyped_storage, _name_of(storage.dtype)


def _decode_typed_storage(payload: Any) -> TypedStorage:
    storage, dtype = payload
    return TypedStorage(wrap_storage=storage, dtype=_dtype_of(dtype), _internal=True)


# --- tensors -----------------------------------------------------------------------------------------------------------


def _encode_tensor(tensor: torch.Tensor) -> Any:
    if (
        tensor.layout is not torch.strided
        or tensor.device.type != "cpu"
        or tensor.is_quantized
        or tensor.is_nested
        or tensor.is_conj()
        or tensor.is_neg()
        or tensor._is_zerotensor()
        or tensor.__dict__
        or tensor._backward_hooks
    ):
        return NotImplemented
    start = tensor.storage_offset()
    size, stride = tuple(tensor.shape), tensor.stride()
    # If nobody else can reach the storage, what the tensor shows of it is all that there is.
    alone = _holders(tensor) in _ALONE
    storage: Any = tensor.untyped_storage()
    if alone:
        width = tensor.element_size()
        elements = 1 + sum((n - 1) * step for n, step in zip(size, stride)) if tensor.numel() else 0
        storage, start = _array_of(storage, start * width, (start + elements) * width, math.gcd(width, _WIDEST)), 0
    return storage, _name_of(tensor.dtype), start, size, stride, tensor.requires_grad


def _holders(tensor: torch.Tensor) -> tuple[int, int, int]:
    """How many refer to its storage, to the Python object of that, and where it is a view to its base."""
    storage, base = tensor.untyped_storage(), tensor._base
    return torch._C._storage_Use_Count(storage._cdata), sys.getrefcount(storage), 0 if base is None else sys.getrefcount(base)


# Of a tensor whose storage nobody else can reach. What torch itself holds depends on its version.
_ALONE = {_holders(torch.empty(1, device="cpu")), _holders(torch.empty(1, device="cpu")[:])}


def _decode_data(payload: Any) -> tuple[torch.Tensor, bool]:
    storage, dtype, start, size, stride, requires_grad = payload
    if isinstance(storage, np.ndarray):
        storage = _storage_of(storage)
    return torch.empty(0, dtype=_dtype_of(dtype), device="cpu").set_(storage, start, size, stride), requires_grad


def _decode_tensor(payload: Any) -> torch.Tensor:
    data, requires_grad = _decode_data(payload)
    return data.requires_grad_(requires_grad)


def _decode_parameter(payload: Any) -> torch.nn.Parameter:
    return torch.nn.Parameter(*_decode_data(payload))


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dtype_of(name: str) -> torch.dtype:
    dtype = vars(torch).get(name)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"torch.{name} is not a dtype")
    return dtype


HOOKS = (
    Hook(torch.Tensor, "torch.Tensor", _encode_tensor, _decode_tensor, False),
    Hook(torch.nn.Parameter, "torch.nn.Parameter", _encode_tensor, _decode_parameter, False),
    Hook(UntypedStorage, "torch.UntypedStorage", _encode_storage, _storage_of, False),
    Hook(TypedStorage, "torch.TypedStorage", _encode_typed_storage, _decode_typed_storage, False),
)
