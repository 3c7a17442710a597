"""Files into intake: readers by format, the run that can be stopped and started again, and what it talks to."""
