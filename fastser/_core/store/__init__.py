"""What the object store asks of the system."""
