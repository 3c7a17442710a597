"""The tables of the toy service that the kit is tried on."""

from sqlalchemy import Column, Integer, MetaData, String, Table

from libs.events.tables import machinery

metadata = MetaData()
events = machinery(metadata)
things = Table("things", metadata, Column("id", Integer, primary_key=True), Column("name", String, nullable=False))
