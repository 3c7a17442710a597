"""The console: pages rendered from this service's own read model, in Spanish and English."""
