"""Styles of layers, and the versions that each went through."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of geoetl.styles.repository."""
    op.create_table(
        "feature_collection_styles",
        # The id of the layer: of a STAC collection, or of a STAC collection and an item joined by a colon.
        sa.Column("collection_id", sa.String(420), primary_key=True),
        sa.Column("style_id", sa.String(200), primary_key=True),
        # Copies of what the style says itself, so that a list reads no style.
        sa.Column("title", sa.Text),
        sa.Column("description", sa.Text),
        # Canonical CartoSym-JSON; and what its metadata say that CartoSym-JSON has no place for.
        sa.Column("style_spec", sa.JSON, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("is_default", sa.Boolean, nullable=False),
        # The number of the version that is shown; and what every change raises, of the metadata too.
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("author", sa.String(200)),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
    op.create_index(
        "feature_collection_styles_one_default",
        "feature_collection_styles",
        ["collection_id"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )
    op.create_table(
        "feature_collection_style_versions",
        sa.Column("collection_id", sa.String(420), primary_key=True),
        sa.Column("style_id", sa.String(200), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("style_spec", sa.JSON, nullable=False),
        sa.Column("author", sa.String(200)),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("note", sa.Text),
        sa.ForeignKeyConstraint(
            ["collection_id", "style_id"],
            ["feature_collection_styles.collection_id", "feature_collection_styles.style_id"],
            ondelete="CASCADE",
        ),
    )
