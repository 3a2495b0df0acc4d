"""The JSON schema that Snakemake checks config.yaml with, from the models that check it here."""

from typing import Any

import yaml

from unirl_repro.config import Config

DRAFT = "https://json-schema.org/draft/2020-12/schema"  # without it Snakemake resolves no $ref
_HEADER = "# Made by `unirl-repro schema` from unirl_repro/config.py; a test keeps the two equal.\n"


def schema() -> dict[str, Any]:
    """Return the schema as plain values."""
    return {"$schema": DRAFT} | Config.model_json_schema()


def schema_yaml() -> str:
    """Return the text of workflow/schemas/config.schema.yaml."""
    return _HEADER + yaml.safe_dump(schema(), sort_keys=False, width=100, allow_unicode=True)
