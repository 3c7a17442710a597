"""Intake: is this a valid, authentic, new fact?"""
