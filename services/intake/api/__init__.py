"""Intake's routes: parse, authorise, call, answer."""
