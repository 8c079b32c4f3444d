"""The parent's end of a worker: start it, tell it what to do, and notice when it dies, hangs or takes all memory."""
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.sysconf("SC_PAGE_SIZE")
POLL_S = 0.05


class Failed(Exception):
    """What a library did not do: stage and reason, one line each."""

    def __init__(self, stage, reason, unsupported=False):
        super().__init__("%s: %s" % (stage, reason))
        self.stage, self.reason, self.unsupported = stage, reason, unsupported


def total_memory():
    return os.sysconf("SC_PHYS_PAGES") * PAGE


def available_memory():
    with open("/proc/meminfo") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return total_memory()


def resident(pid):
    """Bytes of a process and of its children: some libraries start a server."""
    total, wanted = 0, {pid}
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as f:
                    parents[int(name)] = int(f.read().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError, IndexError):
                continue
    grew = True
    while grew:
        more = {p for p, parent in parents.items() if parent in wanted} - wanted
        wanted |= more
        grew = bool(more)
    for p in wanted:
        try:
            with open("/proc/%d/statm" % p) as f:
                total += int(f.read().split()[1]) * PAGE
        except OSError:
            continue
    return total


def environment(threads):
    """One number for every threading runtime that reads one."""
    env = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS",
                 "TOKIO_WORKER_THREADS", "LANCE_CPU_THREADS", "NUMEXPR_NUM_THREADS"):
        env[name] = str(threads)
    paths = [ROOT]
    # the binding and the library of this tree, not one that happens to be installed
    binding = os.path.join(ROOT, "bindings", "python")
    library = os.path.join(ROOT, os.environ.get("BUILD", "build"), "libvecdb.so")
    if os.path.isdir(os.path.join(binding, "vecdb")):
        paths.append(binding)
        if os.path.exists(library):
            env.setdefault("VECDB_LIBRARY", library)
    env.update(PYTHONPATH=os.pathsep.join(paths + [p for p in [env.get("PYTHONPATH")] if p]), PYTHONDONTWRITEBYTECODE="1",
               ANONYMIZED_TELEMETRY="False", TF_CPP_MIN_LOG_LEVEL="3", RUST_LOG="error", TQDM_DISABLE="1")
    return env


def cpus_for(threads):
    """The CPUs a measurement may use: so many, and the last ones, as the first takes most interrupts."""
    return set(sorted(os.sched_getaffinity(0))[-threads:])


class Worker:
    def __init__(self, threads, log, memory_limit=None, python=None, pin=True):
        self.log_path = log
        self.memory_limit = memory_limit or int(total_memory() * 0.8)
        os.makedirs(os.path.dirname(log), exist_ok=True)
        to_child, self._commands = os.pipe()
        self._replies, from_child = os.pipe()
        self.peak_tree = 0
        cpus = cpus_for(threads)

        libc = ctypes.CDLL(None)

        def prepare():
            # when the harness is killed outright its libraries end too
            libc.prctl(1, signal.SIGKILL, 0, 0, 0)
            # the kernel should end the library and not the harness when memory runs out
            try:
                with open("/proc/self/oom_score_adj", "w") as f:
                    f.write("1000")
            except OSError:
                pass
            if pin:
                os.sched_setaffinity(0, cpus)
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                [python or sys.executable, "-m", "bench.harness.worker", str(to_child), str(from_child)],
                pass_fds=(to_child, from_child), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=os.path.dirname(log),
                env=environment(threads), preexec_fn=prepare, start_new_session=True)
        os.close(to_child)
        os.close(from_child)
        self._pending = b""

    def call(self, stage, timeout, **request):
        """The worker's reply, or Failed with the reason in words."""
        try:
            os.write(self._commands, (json.dumps(request) + "\n").encode())
        except BrokenPipeError:
            raise Failed(stage, self._death()) from None
        deadline = time.monotonic() + timeout
        checked = 0.0
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self._replies], [], [], POLL_S)
            if ready:
                data = os.read(self._replies, 1 << 16)
                if not data:
                    raise Failed(stage, self._death())
                self._pending += data
                continue
            now = time.monotonic()
            if now - checked > 0.2:
                checked = now
                size = resident(self.process.pid)
                self.peak_tree = max(self.peak_tree, size)
                if size > self.memory_limit:
                    self.kill()
                    raise Failed(stage, "took %.1f GB of memory, the limit is %.1f GB" % (
                        size / 1e9, self.memory_limit / 1e9))
            if now > deadline:
                self.kill()
                raise Failed(stage, "no end after %d s" % timeout)
        line, _, self._pending = self._pending.partition(b"\n")
        reply = json.loads(line)
        if "unsupported" in reply:
            raise Failed(stage, reply["unsupported"], unsupported=True)
        if "error" in reply:
            raise Failed(stage, reply["error"])
        return reply

    def _death(self):
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
            return "stopped answering"
        if code < 0:
            name = signal.Signals(-code).name
            if name == "SIGKILL":
                return "killed (SIGKILL), most likely for lack of memory"
            return "crashed with %s%s" % (name, self._last_words())
        return "ended by itself with exit code %d%s" % (code, self._last_words())

    def _last_words(self):
        try:
            with open(self.log_path, "rb") as f:
                lines = f.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return ": " + lines[-1].strip()[:200] if lines else ""

    def kill(self):
        """Ends this worker and what it started, by its own process group."""
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()

    def close(self):
        """Lets it end; some libraries write on the way out."""
        if self.process.poll() is None:
            try:
                os.close(self._commands)
                self._commands = -1
                self.process.wait(20)
            except (OSError, subprocess.TimeoutExpired):
                pass
        self.kill()
        for fd in (self._commands, self._replies):
            if fd >= 0:
                try:
                    os.close(fd)
                except OSError:
                    pass
        self._commands = self._replies = -1


def disk_bytes(folder):
    """What a folder takes on the disk: blocks, so that sparse files count for what they hold."""
    total = 0
    for where, _, files in os.walk(folder):
        for f in files:
            try:
                total += os.lstat(os.path.join(where, f)).st_blocks * 512
            except OSError:
                continue
    return total


def forget_cached(folder):
    """Drops a folder's files from the page cache, so that the next open reads the disk."""
    os.sync()
    for where, _, files in os.walk(folder):
        for f in files:
            try:
                fd = os.open(os.path.join(where, f), os.O_RDONLY)
            except OSError:
                continue
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)
