"""What feedback decides: pure functions over cases, requests, calendars and terms."""
