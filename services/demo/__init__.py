"""A generated year at an operator, replayed through the real flow. Speaks to the four services only by HTTP and the clock."""
