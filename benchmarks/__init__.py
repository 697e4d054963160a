"""The benchmark of fastser against pickle protocol 5: ``python -m benchmarks``."""
