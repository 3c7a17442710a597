"""A generated year at an operator, told to the services through their public API and clock only."""
