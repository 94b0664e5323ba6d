# SPDX-License-Identifier: Apache-2.0
"""File systems that can be broken, for tests that start real servers on them. All of it wants root and a loop device; whoever lacks that gets
harness.Skip with the reason.

    SmallDisk   an ext4 of some megabytes in a file: full disk, and power cut at the file system (EXT4_IOC_SHUTDOWN)
    FaultDisk   an ext4 on a block device whose every write, flush and read can fail (faultdisk.c), and whose power can be cut
"""

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time

from harness import Failure, Skip, wait_until

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, u32)
SHUTDOWN_NO_LOG_FLUSH = 2


def tool(*command, check=True):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace").strip()
    if check and done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {text}")
    return text if check else done.returncode


def need(*programs):
    if os.geteuid() != 0:
        raise Skip("loop devices want root")
    for name in programs:
        if shutil.which(name) is None:
            raise Skip(f"{name} is not installed")


def attach(path, *options):
    """A loop device of the file, or Skip."""
    done = subprocess.run(["losetup", "--find", "--show", *options, path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise Skip(f"no loop device: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode().strip()


class Mounted:
    """What both have in common: an ext4 on `device`, mounted at `root`."""

    def __init__(self):
        self.work = tempfile.mkdtemp(prefix="skerry-disk-")
        self.root = os.path.join(self.work, "root")
        self.device = None
        self.mounted = False
        os.mkdir(self.root)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def mount(self):
        if tool("mount", "-t", "ext4", "-o", "errors=continue", self.device, self.root, check=False) != 0:
            raise Skip("mount is not permitted here")
        self.mounted = True

    def unmount(self):
        """Servers on it have ended; what a dead one has under way may still hold it for a moment."""
        if not self.mounted:
            return
        wait_until(lambda: tool("umount", self.root, check=False) == 0, 5, f"umount of {self.root}")
        self.mounted = False

    def close(self):
        try:
            self.unmount()
        finally:
            if self.mounted:
                tool("umount", "-l", self.root, check=False)
            if self.device:
                tool("losetup", "-d", self.device, check=False)
            self.release()
            shutil.rmtree(self.work, ignore_errors=True)

    def release(self):
        pass


class SmallDisk(Mounted):
    def __init__(self, megabytes):
        need("losetup", "mkfs.ext4", "mount")
        super().__init__()
        image = os.path.join(self.work, "image")
        try:
            with open(image, "wb") as out:
                out.truncate(megabytes << 20)
            tool("mkfs.ext4", "-q", "-F", "-m", "0", image)
            self.device = attach(image)
            self.mount()
        except BaseException:
            self.close()
            raise

    def power_cut(self):
        """From now on nothing reaches the disk, and what the file system had not made durable never will; then it is there again."""
        folder = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_NO_LOG_FLUSH))
        except OSError as why:
            raise Skip(f"EXT4_IOC_SHUTDOWN: {why.strerror}") from None
        finally:
            os.close(folder)

    def power_on(self):
        self.unmount()
        self.mount()

    def fill(self):
        """A file that takes all the room there is; remove it to have room again."""
        path = os.path.join(self.root, "filler")
        with open(path, "wb", buffering=0) as out:
            try:
                while True:
                    out.write(bytes(1 << 20))
            except OSError:
                pass
            try:
                while True:
                    out.write(bytes(4096))
            except OSError:
                pass
        return path


class FaultDisk(Mounted):
    def __init__(self, build, megabytes):
        need("losetup", "mkfs.ext4", "mount", "fusermount3")
        program = os.path.join(build, "test", "fault", "faultdisk")
        if not os.access(program, os.X_OK):
            raise Skip("faultdisk was not built: libfuse3-dev is not installed")
        if not os.path.exists("/dev/fuse"):
            raise Skip("there is no /dev/fuse")
        super().__init__()
        self.fuse = os.path.join(self.work, "fuse")
        os.mkdir(self.fuse)
        self.process = subprocess.Popen([program, str(megabytes << 20), self.fuse], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        try:
            self.wait_served()
            self.device = attach(os.path.join(self.fuse, "disk"), "--direct-io=on")
            tool("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", self.device)
            self.mount()
        except BaseException:
            self.close()
            raise

    def wait_served(self):
        end = time.monotonic() + 10
        while not os.path.exists(os.path.join(self.fuse, "disk")):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Skip("FUSE is not permitted here")
            time.sleep(0.02)

    def order(self, text):
        with open(os.path.join(self.fuse, "control"), "w", encoding="ascii") as control:
            control.write(text)

    def counters(self):
        with open(os.path.join(self.fuse, "control"), encoding="ascii") as control:
            return dict((k, int(v)) for k, v in (word.split("=") for word in control.read().split()))

    def power_cut(self):
        self.order("die 0")

    def power_on(self):
        """What was not flushed is gone, as after a power cut."""
        self.unmount()
        self.order("powercut")
        self.order("revive")
        tool("blockdev", "--flushbufs", self.device)
        self.mount()

    def mend(self):
        """Works again; what was written is all there. The file system may have gone read-only, so it is mounted anew."""
        self.order("revive")
        self.unmount()
        self.mount()

    def release(self):
        tool("fusermount3", "-u", "-z", self.fuse, check=False)
        self.process.terminate()
        self.process.wait()
