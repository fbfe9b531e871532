"""The codes of Problems with a configuration source: files that cannot be had, and deletions that are held.

Part of the catalogue ``kit.codes``, which lists them with all others.
"""

from typing import Final

from pilothouse.kit.problem import ProblemCode, Severity

FILE_UNREADABLE: Final = ProblemCode(
    "file-unreadable",
    Severity.ERROR,
    "A configuration file cannot be read. The last good version of its objects goes on.",
    "Make the file readable, or remove it if its objects shall go.",
)
FILE_EMPTY: Final = ProblemCode(
    "file-empty",
    Severity.WARNING,
    "A configuration file that held objects is empty, as it is while somebody writes it. The objects go on.",
    "Remove the file if its objects shall go.",
)
FOLDER_UNREADABLE: Final = ProblemCode(
    "folder-unreadable",
    Severity.ERROR,
    "A configuration folder is gone or cannot be listed. Everything that was read from it goes on.",
    "Bring the folder back; it is looked for every few seconds.",
)
FILE_BUSY: Final = ProblemCode(
    "file-busy",
    Severity.WARNING,
    "A configuration file changes without a pause, so no whole version of it could be read. The last good one goes on.",
    "Write a file beside it and rename it into place; end the program that keeps writing it.",
)
DELETION_HELD: Final = ProblemCode(
    "deletion-held",
    Severity.ERROR,
    "The configuration folder is gone, or many of its objects left it at once, as by a wrong `rm`, a failed checkout "
    "or a lost mount. They are served on; additions and changes take effect as always.",
    "Bring the files back, which ends the hold, or run `pilothouse accept` to let the objects go.",
)
LAST_GOOD_COPY: Final = ProblemCode(
    "last-good-copy",
    Severity.WARNING,
    "The copy of the accepted configuration in state_dir could not be used or written. It only matters at a restart: "
    "without it, a folder that has lost files meanwhile is taken for what it is.",
    "Make state_dir writable and its disk less full; look at the file that was set aside, and remove it.",
)

SOURCE_CODES: Final = (
    FILE_UNREADABLE,
    FILE_EMPTY,
    FILE_BUSY,
    FOLDER_UNREADABLE,
    DELETION_HELD,
    LAST_GOOD_COPY,
)
