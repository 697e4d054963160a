"""The walk from objects to columns. What decode/ has under the same name is its way back."""
