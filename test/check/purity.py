#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What cannot call the kernel can be simulated: looks at the undefined symbols (nm -u) of the objects of the pure folders and
finds no system call, clock, random source or thread there.
Usage: purity.py BUILD_FOLDER | purity.py --self-test [COMPILER]"""

import os
import re
import subprocess
import sys
import tempfile

PURE = ["proto", "persist", "replica", "engine/store", "engine/types", "engine/command"]

DENIED = {
    "clocks and sleep": """clock clock_gettime clock_getres clock_nanosleep gettimeofday time times ftime timespec_get localtime localtime_r
        mktime nanosleep sleep usleep alarm setitimer timer_create timer_settime timerfd_create timerfd_settime""",
    "randomness": """rand rand_r srand random srandom random_r drand48 lrand48 mrand48 getrandom getentropy arc4random
        arc4random_buf arc4random_uniform""",
    "files": """open open64 openat openat64 creat close read write pread pread64 pwrite pwrite64 readv writev preadv pwritev
        preadv2 pwritev2 lseek lseek64 fsync fdatasync sync sync_file_range ftruncate ftruncate64 truncate fallocate posix_fallocate rename renameat
        unlink unlinkat link mkdir rmdir opendir readdir stat fstat lstat statx access flock lockf fcntl fcntl64 ioctl dup dup2
        dup3 pipe pipe2 sendfile splice fopen fopen64 fdopen freopen fread fwrite fgets fgetc fseek fseeko ftell remove tmpfile mkstemp
        printf vprintf puts putchar perror""",
    "network": """socket socketpair bind listen accept accept4 connect send sendto sendmsg sendmmsg recv recvfrom recvmsg
        recvmmsg shutdown getsockopt setsockopt getsockname getpeername getaddrinfo poll ppoll select pselect epoll_create
        epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd_read eventfd_write""",
    "memory from the kernel": "mmap mmap64 munmap mremap madvise mprotect mlock munlock mbind brk sbrk memfd_create shm_open",
    "processes": """fork vfork clone execve execv execvp execl system popen posix_spawn wait waitpid kill raise signal
        sigaction getpid gettid getuid getenv setenv secure_getenv syscall prctl sched_yield sched_setaffinity sched_getcpu sysconf exit _exit""",
    "threads": "thrd_create thrd_sleep mtx_lock cnd_wait call_once sem_init sem_post sem_wait",
}
DENIED_PREFIXES = {"pthread_": "threads", "io_uring_": "the ring", "numa_": "memory from the kernel", "aio_": "files", "inotify_": "files"}
REASON = {name: why for why, names in DENIED.items() for name in names.split()}


def reason_against(symbol):
    """Why `symbol` may not be used; None when it may. Fortified and aliased spellings count as the plain one."""
    name = symbol.split("@")[0]
    plain = re.sub(r"^__(isoc\d+_|libc_)?", "", name)
    plain = re.sub(r"(_chk|_2)$", "", plain)
    for spelling in (name, plain):
        if spelling in REASON:
            return REASON[spelling]
        for prefix, why in DENIED_PREFIXES.items():
            if spelling.startswith(prefix):
                return why
    return None


def objects_of(build):
    for folder in PURE:
        for inside, _, files in os.walk(os.path.join(build, folder)):
            for name in sorted(files):
                if name.endswith(".o"):
                    yield folder, os.path.join(inside, name)


def undefined_of(path, nm):
    out = subprocess.run([nm, "-u", path], capture_output=True, text=True, check=True)
    return [line.split()[-1] for line in out.stdout.splitlines() if line.strip() and not line.endswith(":")]


def violations_of(folder, path, nm):
    for symbol in undefined_of(path, nm):
        why = reason_against(symbol)
        if why is not None:
            yield f"{os.path.basename(path)} in {folder} uses {symbol} ({why})"


def check(build, nm="nm"):
    objects, found = 0, []
    for folder, path in objects_of(build):
        objects += 1
        found += violations_of(folder, path, nm)
    return objects, found


PLANTED = {
    "#include <time.h>\nlong f(void){return time(0);}": 1,
    "#include <stdlib.h>\nint f(void){return rand();}": 1,
    "#include <unistd.h>\nlong f(void*b){return read(0,b,1)+write(1,b,1);}": 2,
    "#include <pthread.h>\nint f(pthread_mutex_t*m){return pthread_mutex_lock(m);}": 1,
    "#include <sys/mman.h>\nint f(void*p){return munmap(p,1);}": 1,
    "#include <sys/random.h>\nlong f(void*p){return getrandom(p,1,0);}": 1,
    "#include <sys/socket.h>\nlong f(void*p){return recv(0,p,1,0);}": 1,
    "#define _FORTIFY_SOURCE 2\n#include <unistd.h>\nlong f(unsigned long n){char b[9];return read(0,b,n)+b[0];}": 1,
    "#include <stdlib.h>\n#include <string.h>\n#include <stdio.h>\n#include <assert.h>\n"
    "int f(char*o,int n){char*p=malloc(9);assert(p);memcpy(p,o,9);snprintf(o,9,\"%d\",n);free(p);return n;}": 0,
    "#include <math.h>\n#include <errno.h>\ndouble f(double d){errno=0;return sqrt(d)+errno;}": 0,
}


def self_test(compiler):
    failed = 0
    for text, want in PLANTED.items():
        with tempfile.TemporaryDirectory() as build:
            folder = os.path.join(build, "proto", "libproto.a.p")
            os.makedirs(folder)
            subprocess.run([compiler, "-O2", "-w", "-x", "c", "-", "-c", "-o", os.path.join(folder, "planted.c.o")],
                           input=text, text=True, check=True)
            objects, found = check(build)
        if objects != 1 or len(found) != want:
            failed += 1
            print(f"FAIL planted {text!r}: found {found}, {want} are there")
    print(f"{len(PLANTED) - failed} passed, {failed} failed")
    return failed != 0


def main():
    if sys.argv[1] == "--self-test":
        return self_test(sys.argv[2] if len(sys.argv) > 2 else "cc")
    # Objects of a link-time optimised build hold intermediate code, which only the compiler's own nm can read.
    nm = sys.argv[2] if len(sys.argv) > 2 else "nm"
    objects, found = check(sys.argv[1], nm)
    for line in found:
        print(line)
    if objects == 0:
        print("no objects of the pure folders found: build first")
    bad = objects == 0 or len(found) > 0
    print(f"{0 if bad else 1} passed, {1 if bad else 0} failed")
    return bad


sys.exit(main())
