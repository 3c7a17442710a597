"""Feedback's HTTP API: cases and their commands, requests to channels, answers, the customer's page."""
