"""`impasto app`: a page on this machine that paints the pictures that are dropped on it."""

from collections.abc import Sequence

from impasto.options.command_line import CommandParser
from impasto.options.translate import AppOptions

__all__ = ["main"]

_EPILOG = """examples:
  impasto app
  impasto app --port 0 --open_browser false --checkpoints_dir checkpoints

The page needs no network, and tells nobody that it is used. Stop it with Ctrl-C; the pictures that
were dropped on it, and what became of them, are then deleted.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, serve until stopped; return the exit status."""
    parser = CommandParser(
        "impasto app",
        AppOptions,
        description="Serve a page to the browsers of this machine: drop a photograph, choose a "
        "painter or a painting of your own, move the strength, compare before and after, and save "
        "the result.",
        epilog=_EPILOG,
    )
    options = parser.make(AppOptions, parser.parse(argv))

    from impasto.app import run_app  # noqa: PLC0415 - torch and Gradio, after parsing

    def tell(address: str) -> None:
        print(f"open {address} (Ctrl-C stops it)", flush=True)
        if options.host not in {"127.0.0.1", "localhost", "::1"}:
            print("note: everybody who can reach this machine can use it to paint", flush=True)

    try:
        run_app(options, on_start=tell)
    except KeyboardInterrupt:
        print("stopped")
    return 0
