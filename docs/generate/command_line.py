"""The reference of the command line, as Markdown, from the commands themselves."""

from collections.abc import Iterator
from typing import Any

import typer

import cogito_ray.cli  # noqa: F401  (adds the commands to app)
from cogito_ray.commands.shared_options import app


def command_line() -> str:
    group: Any = typer.main.get_command(app)
    context = typer.Context(group)
    commands = [group.get_command(context, name) for name in group.list_commands(context)]
    listed = [f"- [`{command.name}`](#{command.name}): {_first(command.help)}" for command in commands]
    sections = [line for command in commands for line in _section(command, context)]
    return "\n".join(["# The command line", "", *listed, "", *sections])


def _section(command: Any, context: typer.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"## `{command.name}` {{: #{command.name} }}", "", command.help, "")
    yield from ("```text", f"cogito-ray {command.name} {usage}", "```", "")
    for parameter in command.get_params(context):
        if shown := parameter.get_help_record(context):
            yield f"- `{shown[0]}`: {shown[1].replace('[', chr(92) + '[')}"
    if command.epilog:
        yield from ("", f"`{command.epilog.partition(': ')[2]}`")
    yield ""


def _first(help_text: str) -> str:
    return help_text.split("\n\n")[0].split(": ")[0].replace("\n", " ").rstrip(".")
