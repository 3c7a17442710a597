"""HTTP of the indicators: parse, authorise, read, answer."""
