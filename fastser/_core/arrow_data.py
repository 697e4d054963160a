"""Arrow data of any type, from a producer or from a frame."""


class ArrowData:
    """Placeholder until the compiled class takes its place."""
