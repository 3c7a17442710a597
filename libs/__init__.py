"""Code every service shares; it never imports a service."""
