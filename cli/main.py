"""The table of verbs, and what surrounds every one: the log, the errors, the exit status."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from cli import console
from cli.errors import Explanation, explain
from cli.exit_codes import MEANINGS, ExitCode
from cli.options import STACK_NAME


@dataclass(frozen=True)
class Verb:
    """Where a verb's function is; its module is imported only when the verb is asked for."""

    module: str
    function: str


VERBS = {
    "doctor": Verb("cli.doctor", "doctor"),
    "up": Verb("cli.up", "up"),
    "plan": Verb("cli.plan", "plan"),
    "status": Verb("cli.status", "status"),
    "token": Verb("cli.token", "token"),
    "keys": Verb("cli.keys", "keys"),
    "verify": Verb("cli.verify", "verify"),
    "load": Verb("cli.load", "load"),
    "bench": Verb("cli.bench", "bench"),
    "archive": Verb("cli.archive", "archive"),
    "test": Verb("cli.test", "test"),
    "down": Verb("cli.down", "down"),
    "images": Verb("cli.images", "show_or_push"),
    "env": Verb("cli.env", "env"),
    "lock": Verb("cli.lock", "lock"),
}

_EPILOG = "Exit status: " + "; ".join(f"{int(code)} {meaning}" for code, meaning in MEANINGS.items()) + "."


class _Verbs(TyperGroup):
    """Finds verbs in VERBS instead of importing all of them to run one."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(cmd_name, epilog=_EPILOG)(getattr(importlib.import_module(verb.module), verb.function))
        return typer.main.get_command(single)


app = typer.Typer(
    name="pacs",
    cls=_Verbs,
    help="A regional cloud PACS as code: data centre, branch edge nodes, and the proof that they work.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options() -> None:
    """Without it typer would take the one command for the program."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status of contracts section 13. No foreseen error shows a traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((word for word in words if word in VERBS), None)
    log_file: Path | None = None
    if verb is not None and not {"-h", "--help"} & set(words):
        log_file = console.start_log(_stack(words), verb)
    try:
        result = typer.main.get_command(app).main(args=words, prog_name="pacs", standalone_mode=False)
        return int(result or ExitCode.DONE)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        console.err.print("interrupted: what was done stays done; run the command again to go on")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        return int(ExitCode.DONE)  # the reader of our data had enough
    except typer.TyperException as error:
        return _refuse(error)
    except Exception as error:  # the last resort: told as one line, kept whole in the log
        return _tell(error, log_file)


def _refuse(error: typer.TyperException) -> int:
    """A wrong command line: the word that is wrong and where help is."""
    if type(error).__name__ == "NoArgsIsHelpError":
        console.out.print(error.format_message(), markup=False)
        return int(ExitCode.USAGE)
    console.show_error(
        Explanation("the command is wrong", error.format_message(), "See ./pacs --help.", ExitCode.USAGE),
        None,
    )
    return int(ExitCode.USAGE)


def _tell(error: Exception, log_file: Path | None) -> int:
    console.log.error("%s", "".join(traceback.format_exception(error)))
    explanation = explain(error) or Explanation(
        f"unexpected {type(error).__name__}",
        str(error) or "it carries no text",
        "This is a fault of the program: please report it with the log.",
        ExitCode.FAILED,
    )
    console.show_error(explanation, log_file)
    return int(explanation.exit_code)


def _stack(words: Sequence[str]) -> str:
    """The stack that the command line names, for the log's place; anything odd is refused later."""
    for position, word in enumerate(words):
        name = word.removeprefix("--stack=") if word.startswith("--stack=") else None
        if word == "--stack" and position + 1 < len(words):
            name = words[position + 1]
        if name and STACK_NAME.match(name):
            return name
    return "local"
