"""What `make bench` measures; see `bench/__main__.py`."""
