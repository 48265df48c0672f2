"""What each wall is for, what its absence means, and what to do about that."""

from dataclasses import dataclass

from stockade.core.walls import Wall, WallState


@dataclass(frozen=True, slots=True)
class _Words:
    """What to say of a wall that stands, and of one that does not, wholly or in part."""

    standing: str
    missing: str
    remedy: str
    weak: str | None = None
    weak_remedy: str | None = None


_WORDS = {
    Wall.SECCOMP: _Words(
        "Code that broke out of the engine can make few system calls; any other kills it.",
        "No jailed process starts: without a filter it never sees a guest.",
        "Kernel: CONFIG_SECCOMP_FILTER=y. Container: use a runtime profile that allows seccomp and"
        " prctl, as Docker's default does (--security-opt seccomp=PROFILE). Policy: name a sound"
        " one with --policy-dir.",
    ),
    Wall.NO_NEW_PRIVS: _Words(
        "No program that a jailed process might start can give it privileges.",
        "No jailed process starts: filters need it.",
        "Kernel 3.5 or newer; in a container, a runtime profile that allows prctl.",
    ),
    Wall.RLIMITS: _Words(
        "What a jailed process takes of memory, files and processes is bounded by the kernel.",
        "The memory of a jailed process is not bounded: a bomb takes the host's.",
        "Kernel 4.7 or newer, not an emulated one.",
        "Some bounds do not hold; the filter denies new processes and files all the same.",
        "Kernel 4.7 or newer; as root, let the container become another user:"
        " docker run --cap-add SETUID --cap-add SETGID",
    ),
    Wall.PIDFD: _Words(
        "The supervisor can never kill the wrong process.",
        "No jailed process starts: its end could not be waited for.",
        "Kernel 5.3 or newer; in a container, a runtime profile that allows pidfd_open and"
        " pidfd_send_signal.",
    ),
    Wall.JAIL: _Words(
        "All the steps into the jail work together, in their order.",
        "No jailed process starts here, so nothing runs.",
        "See to the other walls that are missing, first of all seccomp and nobody. As root in a"
        " container: docker run --cap-add SETUID --cap-add SETGID --cap-add KILL",
    ),
    Wall.LANDLOCK: _Words(
        "Files, TCP and signals stay closed even where the filter had a hole.",
        "Only the filter keeps jailed processes from files and the network.",
        "Kernel 5.13 or newer with CONFIG_SECURITY_LANDLOCK=y and landlock among the names in"
        " /sys/kernel/security/lsm (else add it to lsm= on the kernel's command line). Container:"
        " a runtime profile that allows landlock_create_ruleset and landlock_restrict_self."
        " To run without it: STOCKADE_REQUIRE_WALLS=seccomp",
        "Files stay closed even where the filter had a hole; the rest is the filter's alone.",
        "Kernel 6.12 or newer.",
    ),
    Wall.NOBODY: _Words(
        "Jailed processes own nothing: no file, no process of the worker's.",
        "Jailed processes keep the worker's user. Where that user is root, none starts.",
        "Start workers as root: docker run --user 0 --cap-add SETUID --cap-add SETGID --cap-add"
        " KILL. Or leave it, and give the worker a user of its own that owns nothing else.",
    ),
    Wall.CGROUP: _Words(
        "The kernel can bound and count what each jailed process takes, memory of files included.",
        "Memory is bounded by RLIMIT_DATA and by the supervisor's watch only.",
        "Boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1) and hand the worker a subtree:"
        " systemd-run -p Delegate=yes …, or Delegate=yes in its unit.",
    ),
    Wall.USER_NAMESPACES: _Words(
        "Rootless containers work here. Stockade needs none; the filter denies them to guests.",
        "Rootless containers do not work here. Stockade needs none: many hosts forbid them.",
        "Only where you want rootless containers: sysctl -w user.max_user_namespaces=10000",
    ),
    Wall.ASLR: _Words(
        "Addresses cannot be known beforehand; executors of one zygote share theirs.",
        "Code that breaks out of the engine knows every address.",
        "sysctl -w kernel.randomize_va_space=2, and do not start under setarch -R.",
        "The heap lies at a place that can be known.",
        "sysctl -w kernel.randomize_va_space=2",
    ),
    Wall.PROC: _Words(
        "Other users' processes are hidden.",
        "Other users' processes can be seen.",
        "mount -o remount,hidepid=2 /proc",
        "Command lines and figures of processes can be read by all, or /proc by none; jailed"
        " processes themselves open nothing.",
        "mount -o remount,hidepid=2 /proc (secrets never stand on Stockade's command lines)",
    ),
    Wall.KERNEL: _Words(
        "It has what the other walls are made of.",
        "It lacks what the jail is made of.",
        "Kernel 5.13 or newer; 6.12 or newer for all of Landlock.",
        "It is older than Landlock.",
        "Kernel 5.13 or newer; 6.12 or newer for all of Landlock.",
    ),
    Wall.PROCESSOR: _Words(
        "The kernel knows of no leak of the processor that it does not close.",
        "There is no jail for this processor.",
        "Run on x86-64 or aarch64.",
        "A guest may measure what other processes on the same processor do.",
        "Update kernel and microcode, and do not boot with mitigations=off.",
    ),
    Wall.ENGINE: _Words(
        "No advisory that was known at this release touches the installed engine.",
        "A guest can reach a known defect of the engine, or the engine cannot be judged.",
        "Take the newest Stockade release, with the very wasmtime that it names.",
        "Advisories touch the installed engine, in parts that guests here cannot reach.",
        "Take the next Stockade release: it moves on once the package index has a mended engine.",
    ),
    Wall.DURABILITY: _Words(
        "What was acknowledged is on disk.",
        "A crash of the queue's server loses acknowledged work.",
        "In its configuration: appendonly yes, appendfsync always, maxmemory-policy noeviction",
        "A power cut may lose acknowledged work, or nothing is known of it.",
        "In its configuration: appendonly yes, appendfsync always, maxmemory-policy noeviction",
    ),
}


def words(wall: Wall, state: WallState) -> tuple[str, str | None]:
    """What a wall's state means, and what to do; nothing when it stands."""
    said = _WORDS[wall]
    if state is WallState.OK:
        return said.standing, None
    if state is WallState.WEAK and said.weak is not None:
        return said.weak, said.weak_remedy
    return said.missing, said.remedy
