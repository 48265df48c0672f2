"""Code that got out of the engine: what an executor's process can do is compute, and talk."""

import signal

import pytest

from sandbox_worker.guest.syscalls import this_machine
from tests.security.test_jail_walls import attempt

pytestmark = pytest.mark.skipif(
    "recvfrom" not in this_machine().numbers or this_machine().numbers["recvfrom"] != 45,
    reason="the numbers below are those of x86-64",
)
CALLS = {
    "fork": 57, "vfork": 58, "clone": 56, "clone3": 435, "execve": 59, "execveat": 322,
    "open": 2, "openat": 257, "openat2": 437, "creat": 85, "open_by_handle_at": 304,
    "socket": 41, "connect": 42, "bind": 49, "listen": 50, "accept": 43, "socketpair": 53,
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_open": 434,
    "pidfd_getfd": 438, "kill": 62, "tkill": 200, "rt_sigqueueinfo": 129,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308,
    "setuid": 105, "setresuid": 117, "capset": 126, "prctl": 157, "arch_prctl": 158,
    "seccomp": 317, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425,
    "keyctl": 250, "add_key": 248, "kexec_load": 246, "init_module": 175, "finit_module": 313,
    "personality": 135, "modify_ldt": 154, "iopl": 172, "ioperm": 173, "reboot": 169,
    "setrlimit": 160, "prlimit64": 302, "dup": 32, "dup2": 33, "pipe": 22, "pipe2": 293,
    "eventfd2": 290, "epoll_create1": 291, "inotify_init": 253, "timerfd_create": 283,
    "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240, "getdents64": 217, "readlink": 89,
    "unlink": 87, "rename": 82, "chmod": 90, "chown": 92, "mknod": 133, "truncate": 76,
    "sendmsg": 46, "sendmmsg": 307, "splice": 275, "vmsplice": 278, "tee": 276,
    "sched_setaffinity": 203, "sched_setscheduler": 144, "setpriority": 141, "nice of others": 140,
    "syslog": 103, "sysinfo": 99, "uname": 63, "getcpu": 309, "times": 100, "getrusage": 98,
}  # fmt: skip


@pytest.mark.parametrize("number", CALLS.values(), ids=CALLS.keys())
def test_a_call_that_no_guest_needs_kills_the_process(number: int) -> None:
    assert attempt(f"syscall({number}, 0, 0, 0, 0, 0, 0)").returncode == -signal.SIGSYS


def test_a_fork_bomb_ends_at_its_first_fork() -> None:
    assert attempt("while True: os.fork()").returncode == -signal.SIGSYS


def test_code_written_into_memory_runs_inside_the_same_walls() -> None:
    # mov eax, 39 (getpid, allowed); syscall; mov eax, 57 (fork); syscall; ret
    code = r"""
body = b"\xb8\x27\0\0\0\x0f\x05\xb8\x39\0\0\0\x0f\x05\xc3"
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(body)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
ctypes.CFUNCTYPE(ctypes.c_int)(address)()
"""
    assert attempt(code).returncode == -signal.SIGSYS


def test_32_bit_calls_kill_the_process() -> None:
    # mov eax, 20 (getpid of the 32-bit table); int 0x80; ret
    code = r"""
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(b"\xb8\x14\0\0\0\xcd\x80\xc3")
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
ctypes.CFUNCTYPE(ctypes.c_int)(address)()
"""
    assert attempt(code).returncode in {-signal.SIGSYS, -signal.SIGSEGV}
