"""The real PostgreSQL server of the store's tests."""

from tests.evals.human.store.conftest import pg_server, pg_url

__all__ = ["pg_server", "pg_url"]
