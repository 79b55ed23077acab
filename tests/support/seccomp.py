"""Runs a command under the system calls of a unit, as systemd would: `python -m tests.support.seccomp UNIT COMMAND`."""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

_ERRNO_EPERM = 0x00050000 | 1
_ALLOW = 0x7FFF0000


def allowed(unit: Path) -> set[str]:
    """The names that SystemCallFilter= leaves, its groups resolved."""
    names: set[str] = set()
    for value in re.findall(r"(?m)^SystemCallFilter=(.*)$", unit.read_text()):
        found = {name for word in value.lstrip("~").split() for name in resolved(word)}
        names = names - found if value.startswith("~") else names | found
    return names


def resolved(word: str) -> set[str]:
    """The system calls of a group, those of the groups in it included."""
    if not word.startswith("@"):
        return {word}
    told = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True)
    inner = [line.strip() for line in told.stdout.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {name for one in inner for name in resolved(one)}


def confine(names: set[str]) -> None:
    """Leave this process and all it starts no other system call: they fail as not permitted."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(_ERRNO_EPERM))
    for name in sorted(names):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            library.seccomp_rule_add(context, _ALLOW, number, 0)
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    left = allowed(Path(sys.argv[1]))
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    confine(left)
    os.execvp(sys.argv[2], sys.argv[2:])
