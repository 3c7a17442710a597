"""Pure arithmetic of the indicators: no clock, no I/O; what is counted, over which periods, and how sure it is."""
