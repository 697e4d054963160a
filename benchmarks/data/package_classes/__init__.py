"""Classes that packages make of their users' statements: importable, so that they go by name. A module for each package."""
