"""The public API of classification."""
