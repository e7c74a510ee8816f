"""The tables of the journal, as the migrations that lead to them. A migration that was released never changes."""

from __future__ import annotations

import hashlib
import sqlite3

from oracle.content.cid import CID


def _digest_results(db: sqlite3.Connection) -> None:
    for job_id, sealed in db.execute("SELECT job_id, sealed FROM jobs WHERE sealed IS NOT NULL").fetchall():
        digest = hashlib.sha256(sealed).digest()
        db.execute("UPDATE jobs SET digest = ? WHERE job_id = ?", (digest, job_id))
        db.execute("INSERT INTO pins (cid, job_id) VALUES (?, ?)", (str(CID.from_digest(digest)), job_id))


_FIRST = (
    """CREATE TABLE blocks (number INTEGER PRIMARY KEY, hash BLOB NOT NULL)""",
    """CREATE TABLE jobs (
        job_id INTEGER PRIMARY KEY,
        terms TEXT NOT NULL,
        block INTEGER NOT NULL,
        block_hash BLOB NOT NULL,
        step TEXT NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        attempts INTEGER NOT NULL DEFAULT 0,
        retry_at REAL NOT NULL DEFAULT 0,
        result TEXT,
        sealed BLOB
    )""",
    "CREATE INDEX jobs_by_step ON jobs (step)",
    "CREATE TABLE history (job_id INTEGER NOT NULL, at REAL NOT NULL, step TEXT NOT NULL, note TEXT NOT NULL)",
    "CREATE INDEX history_by_job ON history (job_id)",
    """CREATE TABLE outbox (
        tx_hash BLOB PRIMARY KEY,
        purpose TEXT NOT NULL,
        sender TEXT NOT NULL,
        nonce INTEGER NOT NULL,
        raw BLOB NOT NULL,
        at REAL NOT NULL
    )""",
    "CREATE INDEX outbox_by_purpose ON outbox (purpose)",
)

# Replaced transactions: what an attempt offers for gas, and whether its nonce is final on chain.
_REPLACEMENTS = (
    "ALTER TABLE outbox ADD COLUMN max_fee INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE outbox ADD COLUMN max_tip INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE outbox ADD COLUMN block INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE outbox ADD COLUMN closed INTEGER NOT NULL DEFAULT 0",
)

# A year of jobs: what is due is found without reading what is done; what is done shrinks; events are known by key.
_SERVICE = (
    "ALTER TABLE blocks ADD COLUMN parent_hash BLOB NOT NULL DEFAULT x''",
    "ALTER TABLE jobs ADD COLUMN requester TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE jobs ADD COLUMN deadline INTEGER NOT NULL DEFAULT 0",  # Unix time; what the delivery must meet
    "ALTER TABLE jobs ADD COLUMN seconds REAL NOT NULL DEFAULT 0",  # estimate of the run
    "ALTER TABLE jobs ADD COLUMN memory_bytes INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN heard REAL NOT NULL DEFAULT 0",  # Unix time of the first row
    "ALTER TABLE jobs ADD COLUMN since REAL NOT NULL DEFAULT 0",  # Unix time at which the step was reached
    "ALTER TABLE jobs ADD COLUMN digest BLOB",  # of the sealed result, also once the document is gone
    # Block in which the chain ended the job or gave it to another; 0: there is nothing to wait for; null: not yet.
    "ALTER TABLE jobs ADD COLUMN ended INTEGER",
    # Newest block that put the job at its step; null: at its creation, or work has begun here.
    "ALTER TABLE jobs ADD COLUMN placed INTEGER",
    "ALTER TABLE jobs ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0",  # documents and history are gone
    """UPDATE jobs SET
        requester = json_extract(terms, '$.requester'),
        deadline = CAST(json_extract(terms, '$.deliver_by') AS INTEGER),
        heard = COALESCE((SELECT MIN(at) FROM history WHERE history.job_id = jobs.job_id), 0),
        since = COALESCE((SELECT MAX(at) FROM history WHERE history.job_id = jobs.job_id), 0),
        ended = CASE step WHEN 'closed' THEN 0 END""",
    "CREATE INDEX jobs_due ON jobs (step, deadline, job_id, retry_at) WHERE step != 'closed'",
    "CREATE INDEX jobs_unconfirmed ON jobs (job_id) WHERE step = 'closed' AND ended IS NULL",
    "CREATE INDEX jobs_unpruned ON jobs (since) WHERE step = 'closed' AND NOT pruned",
    "CREATE INDEX jobs_by_block ON jobs (block)",
    "CREATE INDEX jobs_placed ON jobs (placed) WHERE placed IS NOT NULL",
    "CREATE INDEX jobs_ended ON jobs (ended) WHERE ended IS NOT NULL",
    "CREATE INDEX outbox_by_nonce ON outbox (sender, nonce)",
    "CREATE INDEX outbox_open ON outbox (sender, nonce) WHERE NOT closed",
    """CREATE TABLE events (
        tx_hash BLOB NOT NULL,
        block_hash BLOB NOT NULL,
        log_index INTEGER NOT NULL,
        block INTEGER NOT NULL,
        job_id INTEGER NOT NULL,
        PRIMARY KEY (tx_hash, block_hash, log_index)
    ) WITHOUT ROWID""",
    "CREATE INDEX events_by_block ON events (block)",
    "CREATE INDEX events_by_job ON events (job_id)",
    "CREATE TABLE pins (cid TEXT NOT NULL, job_id INTEGER NOT NULL, PRIMARY KEY (cid, job_id)) WITHOUT ROWID",
    "CREATE INDEX pins_by_job ON pins (job_id)",
    _digest_results,
)

# Of a validator: digest of the counts it opened, and the block that delivered them, to know copies among many.
_OPENED = (
    "ALTER TABLE jobs ADD COLUMN counts TEXT",
    "ALTER TABLE jobs ADD COLUMN counted INTEGER",
    """UPDATE jobs SET counts = json_extract(result, '$.counts'), counted = json_extract(result, '$.block')
        WHERE json_type(result, '$.counts') = 'text' AND json_type(result, '$.block') = 'integer'""",
    "CREATE INDEX jobs_by_counts ON jobs (counts, counted) WHERE counts IS NOT NULL",
)

MIGRATIONS = (_FIRST, _REPLACEMENTS, _SERVICE, _OPENED)
SCHEMA_VERSION = len(MIGRATIONS)
