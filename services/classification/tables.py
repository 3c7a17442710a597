"""Classification's tables: the machinery's, the rulebook's versions, current decisions, the monitor's counts, findings.

No text of a person stands in them in the clear; `sealed` keeps interactions as they came, sealed; a model's weights are
numbers about hashed pieces of words.
"""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
)

from libs.events.tables import UtcDateTime, machinery

metadata = MetaData()
MACHINERY = machinery(metadata)

rulebooks = Table(
    "rulebooks",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False),
    Column("published_at", UtcDateTime, nullable=False),
    Column("published_by", String, nullable=False),
    Column("checksum", String, nullable=False),
    Column("document", JSON, nullable=False),
)

# The newest decision about each interaction: a plain function of its stream `classification/<id>`.
decisions = Table(
    "decisions",
    metadata,
    Column("interaction_id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("kind", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("motive", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("decided_by", String, nullable=False),
    Column("review", Boolean, nullable=False),
    Column("rulebook_version", Integer, nullable=False),
    Column("model_version", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("by", String),  # the person who decided
    Column("decided_at", UtcDateTime, nullable=False),
    Column("gain", Float, nullable=False),  # the review queue's order
    Column("sample", Float, nullable=False),  # below the share that is coded twice: is coded twice
    Index("decisions_gain", "review", "gain", "interaction_id"),
    Index("decisions_model", "model_version"),
    Index("decisions_version", "rulebook_version", "interaction_id"),
    Index("decisions_motive", "motive", "decided_by", "interaction_id"),
    Index("decisions_sample", "decided_by", "sample"),
)

# Every interaction as it came, sealed: what a reviewer is shown, where precedents are found, what the past is coded again from.
# Who is erased has no key any more, and nothing here opens.
sealed = Table(
    "sealed",
    metadata,
    Column("interaction_id", String, primary_key=True),
    Column("event_id", String, nullable=False),
    Column("type", String, nullable=False),
    Column("correlationid", String, nullable=False),
    Column("traceparent", String),
    Column("key", String, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("recordedtime", UtcDateTime, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# Who is looking at what, and until when. Of an item reviewed and coded a second time there may be two.
claims = Table(
    "claims",
    metadata,
    Column("interaction_id", String, nullable=False),
    Column("purpose", String, nullable=False),  # review or second
    Column("person", String, nullable=False),
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("interaction_id", "purpose"),
)

# Second, blind codings: a plain function of their events.
second_codings = Table(
    "second_codings",
    metadata,
    Column("interaction_id", String, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("person", String, nullable=False),
    Column("motive", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("first_person", String, nullable=False),
    Column("first_motive", String, nullable=False),
    Column("first_cause", String, nullable=False),
    Column("machine_motive", String),
    Column("machine_cause", String),
    Column("rulebook_version", Integer, nullable=False),
    Column("agreed", Boolean, nullable=False),
    Index("second_codings_at", "at", "interaction_id"),
)

# Jobs that code the past again, and how far they have come.
recodings = Table(
    "recodings",
    metadata,
    Column("recoding_id", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("asked_by", String, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("started_by", String),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("rulebook_version", Integer, nullable=False),
    Column("model_version", String, nullable=False),
    Column("since", UtcDateTime),
    Column("until", UtcDateTime),
    Column("motive", String),
    Column("per_second", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("position", String, nullable=False),  # the last interaction looked at
    Column("counts", JSON, nullable=False),  # of the phase in hand: looked_at, appended, changed, by_people, erased
    Column("moves", JSON, nullable=False),  # motive before and after, count
    Column("preview", JSON),  # counts and moves of the phase before
    Index("recodings_asked", "asked_at", "recoding_id"),
)

# What the monitor counted: one row per interaction, moved when its coding changes.
contacts = Table(
    "contacts",
    metadata,
    Column("interaction_id", String, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("counted", Boolean, nullable=False),  # compliments and suggestions are no problems
    Column("motive", String, nullable=False),
    Column("touchpoint", String, nullable=False),  # "" where none was named
    Column("location", String, nullable=False),
    Column("customer_id", String, nullable=False),
    Column("day", Date, nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("cause", String, nullable=False),
    Column("supplier", String),
    Column("product", String, nullable=False),
    Column("team", String, nullable=False),
    Column("procedure", String, nullable=False),
    Column("component", String, nullable=False),
    Column("segment", String, nullable=False),
    Index("contacts_customer", "customer_id"),
    Index("contacts_place", "motive", "location", "day"),
    Index("contacts_slice", "motive", "touchpoint", "day"),
)

# Their sums: fresh complainants and contacts per slice and day. `series`: as `domain/slices.py` names counts.
days = Table(
    "days", metadata, Column("series", String, nullable=False), Column("motive", String, nullable=False),
    Column("place", String, nullable=False), Column("day", Date, nullable=False),
    Column("fresh", Integer, nullable=False), Column("contacts", Integer, nullable=False),
    PrimaryKeyConstraint("series", "motive", "place", "day"),
)  # fmt: skip

# One row: which state of the counts stands in the tables, how far event time has come, per source.
watermarks = Table(
    "watermarks", metadata, Column("name", String, primary_key=True),
    Column("stamp", String, nullable=False),  # of the last change; a cache with another one is stale
    Column("seen", JSON, nullable=False), Column("latest", Date, nullable=False),  # source to latest; day of the latest fact
    Column("through", Date), Column("gathering", Boolean, nullable=False),  # last judged day; a timer will judge
)  # fmt: skip

# What was judged so far, to go on from after a restart; `at`: the first day not judged, `under`: digest of the settings.
snapshots = Table(
    "snapshots", metadata, Column("name", String, primary_key=True), Column("under", String, nullable=False),
    Column("at", Date, nullable=False), Column("checksum", String, nullable=False), Column("body", LargeBinary, nullable=False),
)  # fmt: skip

# Episodes as they were last published. `steps`: verdict, day, window's end, count; `data`: the newest event.
verdicts = Table(
    "verdicts",
    metadata,
    Column("verdict_id", String, primary_key=True),
    Column("finding_id", String, nullable=False),
    Column("series", String, nullable=False),
    Column("motive", String, nullable=False),
    Column("place", String, nullable=False),
    Column("start", Date, nullable=False),
    Column("ended", Date),
    Column("verdict", String, nullable=False),
    Column("nature", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Column("steps", JSON, nullable=False),
    Column("data", JSON, nullable=False),
    Index("verdicts_slice", "series", "motive", "place"),
)

findings = Table(
    "findings",
    metadata,
    Column("finding_id", String, primary_key=True),
    Column("slice", JSON, nullable=False),
    Column("slice_key", String, nullable=False),
    Column("status", String, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("nature", String, nullable=False),
    Column("verdict_id", String, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("title", JSON, nullable=False),
    Column("owner", String),
    Column("reopened", Integer, nullable=False),
    Column("actions", JSON, nullable=False),
    Column("version", Integer, nullable=False),
    Column("confirmed_by", String),
    Column("investigation", JSON),
    Column("proposals", JSON, nullable=False),
    Column("levels", JSON, nullable=False),
    Column("part_of", String),  # the finding it is grouped under
    Column("parts", JSON, nullable=False),  # findings split off from it, with their slices
    Column("split_from", String),
    Column("ended_at", UtcDateTime),
    Index("findings_part_of", "part_of"),
    Index("findings_slice", "slice_key", "open"),
    Index("findings_list", "opened_at", "finding_id"),
)

# What the newest decision says of each contact beside motive and place: what findings are joined by and natures are read from.
particulars = Table(
    "particulars",
    metadata,
    Column("interaction_id", String, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("customer_id", String, nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("counted", Boolean, nullable=False),  # compliments and suggestions are no problems
    Column("motive", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("severity", String),
    Column("channel", String),
    Column("touchpoint", String),
    Column("location", String),
    Column("product", String),
    Column("team", String),
    Column("agent", String),
    Column("supplier", String),
    Column("segment", String),
    Column("procedure", String),
    Column("procedure_version", Integer),
    Column("norm", String),
    Column("signed", Boolean),
    Column("component", String),
    Column("act", String),  # act or omission; null in what was coded before 0007: the rulebook says it by the cause
    Index("particulars_motive", "motive", "occurred_at"),
    Index("particulars_customer", "customer_id", "occurred_at"),
)

# What became of each case: a plain function of its events on `lazo.feedback`.
outcomes = Table(
    "outcomes",
    metadata,
    Column("case_id", String, primary_key=True),
    Column("interaction_id", String),
    Column("customer_id", String, nullable=False),
    Column("outcome", String),
    Column("outcome_at", UtcDateTime),
    Column("procedure", String),  # that whoever answered says was followed
    Column("procedure_at", UtcDateTime),
    Column("helped", String),
    Column("score", Integer),
    Column("answered_at", UtcDateTime),
    Index("outcomes_interaction", "interaction_id"),
)

# Which contacts belong to which finding: a plain function of the streams `finding-links/<id>`.
links = Table(
    "links",
    metadata,
    Column("finding_id", String, nullable=False),
    Column("interaction_id", String, nullable=False),
    Column("joined_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("finding_id", "interaction_id"),
    Index("links_interaction", "interaction_id"),
)

# What dismissals taught: a plain function of the streams `threshold/<finding>`.
thresholds = Table(
    "thresholds",
    metadata,
    Column("finding_id", String, primary_key=True),
    Column("slice", JSON, nullable=False),
    Column("slice_key", String, nullable=False),
    Column("factor", Float, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("by", String, nullable=False),
    Column("reason", String),
    Column("withdrawn", Boolean, nullable=False),
    Index("thresholds_slice", "slice_key", "withdrawn"),
)

# What changed in the house: a plain function of the streams `change/<id>`.
changes = Table(
    "changes",
    metadata,
    Column("change_id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("what", String, nullable=False),
    Column("code", String),
    Column("version", Integer),
    Column("where", JSON, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("by", String, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Index("changes_at", "at", "change_id"),
)

# How many there were who could complain: the newest figure of each unit, slice and period.
exposures = Table(
    "exposures",
    metadata,
    Column("unit", String, nullable=False),
    Column("slice_key", String, nullable=False),
    Column("since", Date, nullable=False),
    Column("until", Date, nullable=False),
    Column("slice", JSON, nullable=False),
    Column("amount", Float, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("by", String, nullable=False),
    PrimaryKeyConstraint("unit", "slice_key", "since", "until"),
)

# Which team first signed which version of a procedure: a plain function of the streams `procedure/<code>`.
signatures = Table(
    "signatures", metadata, Column("procedure", String, nullable=False), Column("version", Integer, nullable=False),
    Column("team", String, nullable=False), Column("signed_at", UtcDateTime, nullable=False),
    Column("by", String, nullable=False), Column("changed_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("procedure", "version", "team"),
)  # fmt: skip

# Topics among texts that fit nothing. State, motive, by and settled_at follow from the streams `topic/<id>`; the rest is what the
# last search found.
topics = Table(
    "topics",
    metadata,
    Column("topic_id", String, primary_key=True),
    Column("state", String, nullable=False),  # emerging, proposed, dismissed
    Column("motive", String),
    Column("by", String),
    Column("settled_at", UtcDateTime),
    Column("current", Boolean, nullable=False),  # the last search found it
    Column("size", Integer, nullable=False),
    Column("customers", Integer, nullable=False),
    Column("words", JSON, nullable=False),
    Column("members", JSON, nullable=False),  # interaction ids, the most typical first
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("found_at", UtcDateTime, nullable=False),
    Index("topics_state", "state", "size", "topic_id"),
)

# What people said of contacts, in the order in which it is learnt: a plain function of their decisions and of who was erased.
# A number is never used twice: a learner that knows the last one and how many there were knows all.
corrections = Table(
    "corrections",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("interaction_id", String, nullable=False),
    Column("customer_id", String, nullable=False),
    Column("motive", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("rulebook_version", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("corrections_customer", "customer_id"),
    sqlite_autoincrement=True,
)

# Fitted models: a plain function of the stream `models/main`, and their files as they were written (manifest.json, arrays).
models = Table(
    "models",
    metadata,
    Column("model_id", String, primary_key=True),
    Column("fitted_at", UtcDateTime, nullable=False),
    Column("by", String),
    Column("rulebook_version", Integer, nullable=False),
    Column("data", String, nullable=False),
    Column("corrections", Integer, nullable=False),
    Column("sure", Integer, nullable=False),
    Column("held_back", Integer, nullable=False),
    Column("through", Integer, nullable=False),
    Column("encoder", String),
    Column("libraries", JSON, nullable=False),
    Column("measures", JSON, nullable=False),
    Column("size", Integer, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("shadow", Boolean, nullable=False),
    Column("promoted_at", UtcDateTime),
    Column("promoted_by", String),
)
model_files = Table(
    "model_files",
    metadata,
    Column("model_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("model_id", "name"),
)

# What the shadow would have decided, counted in the transactions of the decisions.
shadows = Table(
    "shadows",
    metadata,
    Column("model_id", String, primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("started_by", String, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("texts", Integer, nullable=False),
    Column("same", Integer, nullable=False),
    Column("review_live", Integer, nullable=False),
    Column("review_shadow", Integer, nullable=False),
    Column("moved", JSON, nullable=False),  # motive decided, motive of the shadow, count
    Column("examples", JSON, nullable=False),  # interaction id, motive decided, motive of the shadow
)

# The one fit that is asked for or at work. A process holds it until then; another takes over what a dead one left.
fittings = Table(
    "fittings",
    metadata,
    Column("name", String, primary_key=True),
    Column("state", String, nullable=False),  # asked, fitting, done
    Column("asked_by", String),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("holder", String),
    Column("until", UtcDateTime),
    Column("outcome", String),  # fitted, promoted, same, or why nothing could be fitted
    Column("model_id", String),
    Column("through", Integer, nullable=False),  # number of the last correction that a fit has looked at
    Column("ended_at", UtcDateTime),
)
