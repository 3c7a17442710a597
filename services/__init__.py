"""The four services, the demonstration year and the `lazo` command."""
