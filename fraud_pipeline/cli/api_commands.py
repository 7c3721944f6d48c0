"""What can be typed about the REST API; each command imports what does its work when it runs."""

from typing import Annotated

import typer

from fraud_pipeline.settings import Settings


def api() -> None:
    """Serve the REST API until it is stopped; where and how, FRAUD_PIPELINE_API_… say."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import api

    api.serve(settings)


def key_create(
    name: Annotated[str, typer.Argument(help="Who holds the key; the actor of what is changed with it.")],
    scope: Annotated[
        list[str], typer.Option(help="What the key may do: detect, alerts:read or alerts:write; may be given again.")
    ],
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Days that it works.", show_default="for ever")
    ] = None,
) -> None:
    """Make a key and print it, this one time: only its digest is stored."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import api

    api.create_key(settings, name, scope, days)


def key_list() -> None:
    """List all keys with their scopes and whether they are in force; their secrets are stored nowhere."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import api

    api.list_keys(settings)


def key_revoke(
    key_id: Annotated[str, typer.Argument(help="Of the key, as `api-key list` prints it.")],
) -> None:
    """Revoke a key; servers refuse it within seconds."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import api

    api.revoke_key(settings, key_id)
