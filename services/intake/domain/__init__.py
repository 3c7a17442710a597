"""What intake decides: is this a valid, authentic, new fact? Pure; nothing here reads a clock, a socket or a database."""
