"""With which settings the results in a folder were made, so that no page says otherwise."""

import json
from collections.abc import Mapping
from pathlib import Path

from impasto.data.atomic import write_text_atomic

__all__ = ["other_settings"]

Settings = Mapping[str, str]


def other_settings(
    note: Path, settings: Settings, *, adds: bool, afresh: bool
) -> list[dict[str, str]]:
    """Note the settings of this call, and return others that results there were made with.

    Args:
        note: the file that remembers; a missing or damaged one remembers nothing.
        settings: of this call, by what to call them.
        adds: this call makes results.
        afresh: it makes all of them, so that earlier settings are forgotten.

    Returns:
        The differing settings of each earlier call: only what differs.

    Raises:
        OSError: the note cannot be written.
    """
    now = dict(settings)
    earlier = [] if afresh else [made for made in _read(note) if made != now]
    if adds:
        write_text_atomic(note, json.dumps([*earlier, now], indent=1, ensure_ascii=False))
    names = [{*made, *now} for made in earlier]
    return [
        {
            name: made.get(name, "unknown")
            for name in sorted(either)
            if made.get(name) != now.get(name)
        }
        for made, either in zip(earlier, names, strict=True)
    ]


def _read(note: Path) -> list[dict[str, str]]:
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
