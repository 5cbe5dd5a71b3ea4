"""Local users, their API tokens, and the secret that cookies are signed with."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of geoetl.store.identity."""
    op.create_table(
        "users",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        # The name as it is compared (geoetl.store.identity.name_key): no two that look the same.
        sa.Column("name_key", sa.String(400), nullable=False, unique=True),
        sa.Column("role", sa.String(16), nullable=False),
        # Null for who signs in with an OpenID provider only; issuer and subject are null for the others.
        sa.Column("password", sa.String(300)),
        sa.Column("issuer", sa.String(400)),
        sa.Column("subject", sa.String(400)),
        sa.Column("disabled", sa.Boolean, nullable=False),
        # Raised by a new password or role, and by disabling: cookies that name an earlier one are no longer taken.
        sa.Column("session", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.UniqueConstraint("issuer", "subject"),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("user_id", sa.String(32), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("revoked_at", sa.Float),
    )
    # Sessions that were signed out before their cookie expires; a row is dropped when it would have.
    op.create_table(
        "ended_sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("expires_at", sa.Float, nullable=False, index=True),
    )
    op.create_table(
        "server_secrets",
        sa.Column("name", sa.String(50), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
