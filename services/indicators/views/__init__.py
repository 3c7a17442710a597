"""Reads for the API, the charts and the console: plain functions over one read transaction."""
