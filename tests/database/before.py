"""An installation of an earlier schema, with work under way: rows in raw SQL, as the code of that time wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alembic import command

from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from tests.inventory.factory import SIZE, Inventory


class Before(Inventory):
    """Subscriptions are three days old, and were last looked at a day ago."""

    def upgrade(self) -> None:
        assert migrate.revision(self.db) != migrate.upgrade(self.db)

    def asked(self, action: str, lfn: str, site: str, state: str = "new", **columns: Any) -> int:
        """A subscription; its id. ``columns``: more of it."""
        given = {
            "file_id": self.file_ids[lfn],
            "site_id": self.site_ids[site],
            "action": action,
            "state": state,
            "origin": "detox" if action == "delete" else "dealer",
            "num_attempts": 0 if state == "new" else 1,
            **columns,
        }
        return int(
            self.scalar(
                f"""INSERT INTO subscriptions ({", ".join(given)}, created_at, updated_at)
                    VALUES ({", ".join(f":{name}" for name in given)}, now() - interval '3 days',
                            now() - interval '1 day') RETURNING id""",
                **given,
            )
        )

    def deletion_batch(self, site: str, planned: Sequence[int] = (), claimed: Sequence[int] = ()) -> int:
        """A batch that was not finished. ``claimed`` (0009): the storage was asked, and the task killed."""
        batch = self.scalar("INSERT INTO deletion_batches (site_id) VALUES (:s) RETURNING id", s=self.site_ids[site])
        for subscription in (*planned, *claimed):
            self.rows(
                "INSERT INTO deletions (batch_id, subscription_id, size_bytes) VALUES (:b, :w, :z)",
                b=batch,
                w=subscription,
                z=SIZE,
            )
        if claimed:
            self.rows("UPDATE deletions SET claimed_at = now() WHERE subscription_id = ANY(:w)", w=list(claimed))
        return int(batch)

    def failed_deletion(self, site: str, subscription: int, reason: str) -> None:
        """An attempt that the storage refused, in a batch that is finished."""
        batch = self.deletion_batch(site, [subscription])
        self.rows(
            """UPDATE deletions SET state = 'failed', reason = :r, is_recoverable = false, finished_at = now()
               WHERE batch_id = :b""",
            r=reason,
            b=batch,
        )
        self.rows("UPDATE deletion_batches SET state = 'finished', finished_at = now() WHERE id = :b", b=batch)

    def copy_batch(
        self,
        site: str,
        source: str,
        subscriptions: Sequence[int],
        *,
        job_id: str,
        state: str = "planned",
        **columns: Any,
    ) -> tuple[int, list[int]]:
        """A batch of copies; its id and those of its transfers. ``submitted``: an hour ago, and being copied."""
        given = {
            "sid": job_id.replace("-", ""),
            "job_id": job_id,
            "site_id": self.site_ids[site],
            "is_staging": False,
            "backend": "fts",
            "activity": "default",
            "state": state,
            **columns,
        }
        batch = self.scalar(
            f"""INSERT INTO transfer_batches ({", ".join(given)}, submitted_at)
                VALUES ({", ".join(f":{name}" for name in given)},
                        CASE WHEN :state = 'submitted' THEN now() - interval '1 hour' END) RETURNING id""",
            **given,
        )
        transfers = [
            self.scalar(
                """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, size_bytes)
                   SELECT :batch, s.id, :index, :source, :state, f.size_bytes
                   FROM subscriptions s JOIN files f ON f.id = s.file_id WHERE s.id = :subscription RETURNING id""",
                batch=batch,
                index=index,
                source=self.site_ids[source],
                state="active" if state == "submitted" else "planned",
                subscription=subscription,
            )
            for index, subscription in enumerate(subscriptions)
        ]
        return int(batch), transfers


@contextmanager
def installation(postgres: EmbeddedPostgres, revision: str) -> Iterator[Before]:
    """An empty one at the schema ``revision``."""
    name = f"before_{revision}"
    postgres.create_database(name)
    database = Database(postgres.url(name))
    with database.engine.connect() as connection:
        command.upgrade(migrate._config(database, connection), revision)
    try:
        yield Before(database)
    finally:
        database.dispose()
        postgres.drop_database(name)
