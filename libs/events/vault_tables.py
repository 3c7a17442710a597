"""The vault's tables. Small, in a database of their own, so that one backup policy can cover what erasure depends on."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, Table, Text

SCHEMA_VERSION = 1

metadata = MetaData()

# What the vault knows about itself: schema version, and a sealed constant that tells a wrong master key at once.
meta = Table(
    "vault_meta", metadata, Column("name", Text, primary_key=True), Column("value", LargeBinary, nullable=False)
)

# One data key per person, wrapped by the master key. To erase a person is to delete this row.
persons = Table(
    "persons",
    metadata,
    Column("id", Text, primary_key=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),  # microseconds since 1970, UTC
)

# Keyed hash of (scheme, normalised value) -> person. Two that race for one hash are told apart by the primary key.
identifiers = Table(
    "identifiers",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("person_id", Text, ForeignKey("persons.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),  # the scheme, for `id` with its source: never the value
    Index("identifiers_by_person", "person_id"),
)

# Proof that a pseudonym was erased, and when.
erased = Table(
    "erased", metadata, Column("person_id", Text, primary_key=True), Column("erased_us", BigInteger, nullable=False)
)

# Keys that belong to no person: look-up hashes, signatures of cursors and sessions, one per sealed quarantine body.
system_keys = Table(
    "system_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

# API keys, as hashes.
api_keys = Table(
    "api_keys",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("id", Text, nullable=False, unique=True),  # public handle, the first characters of the key
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # JSON array
    Column("source", Text),  # a sender's key speaks for this source only
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
)

# Signing secrets of sources, endpoints …: several live at once while they are being rotated.
secrets = Table(
    "secrets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),  # e.g. source/crm
    Column("wrapped", LargeBinary, nullable=False),
    Column("not_before_us", BigInteger, nullable=False),
    Column("not_after_us", BigInteger),
    Index("secrets_by_owner", "owner"),
)
