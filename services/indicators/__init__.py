"""Indicators: projects every event into read models; decides nothing."""
