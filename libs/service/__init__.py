"""What makes a program a service: settings, HTTP kit, telemetry, database engine."""
