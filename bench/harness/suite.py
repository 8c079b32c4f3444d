"""Runs the steps of a plan and goes on where it stopped.

A step is done when its process ended well; only then is it written down, with the commit and the arguments it ran
with.  So whatever ends the suite, the step it was in is run again and the finished ones are not.
"""
import argparse
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

from . import plan

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(HERE, "out")
COMPARE = os.path.join(HERE, "compare")


def commit():
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=HERE, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.DEVNULL).stdout.strip()
        return head or "unknown"
    except OSError:
        return "unknown"


LIBC = ctypes.CDLL(None)


def die_with_parent():
    """In the child: when the suite is killed outright, what it started ends too, and does not go on measuring."""
    LIBC.prctl(1, signal.SIGTERM, 0, 0, 0)


def duration(seconds):
    seconds = int(seconds)
    if seconds >= 3600:
        return "%d h %02d min" % (seconds // 3600, seconds % 3600 // 60)
    return "%d min %02d s" % (seconds // 60, seconds % 60) if seconds >= 60 else "%d s" % seconds


class Progress:
    """A bar on a terminal, a line a step elsewhere; the estimate learns from the steps that have ended."""

    def __init__(self, todo, guesses, out=None):
        self.todo, self.guesses, self.out = todo, guesses, out or sys.stderr
        self.started, self.measured, self.guessed = time.monotonic(), 0.0, 0.0
        self.done = []

    def left(self, spent=0.0):
        """Seconds to go: guesses, corrected by how the steps so far compared to theirs."""
        factor = self.measured / self.guessed if self.guessed else 1.0
        rest = sum(self.guesses[s.name] for s in self.todo if s.name not in self.done) * factor
        return max(0.0, rest - spent)

    def text(self, step=None, spent=0.0):
        total = len(self.todo)
        line = "%d/%d steps, %s, about %s to go" % (len(self.done), total, duration(
            time.monotonic() - self.started), duration(self.left(spent)))
        return line if step is None else line + ": " + step.name

    def show(self, step, spent=0.0):
        if self.out.isatty():
            width = 30
            everything = sum(self.guesses.values()) or 1
            share = 1 - (sum(self.guesses[s.name] for s in self.todo if s.name not in self.done)
                         - min(spent, 0.95 * self.guesses[step.name])) / everything
            full = max(0, min(width, int(width * share)))
            print("\r\033[K[%s%s] %s" % ("#" * full, "." * (width - full), self.text(step, spent)), end="",
                  file=self.out, flush=True)
        elif not spent:
            print("bench: " + self.text(step), file=self.out, flush=True)

    def ended(self, step, seconds):
        self.done.append(step.name)
        self.measured += seconds
        self.guessed += self.guesses[step.name]

    def note(self, text):
        print(("\r\033[K" if self.out.isatty() else "") + text, file=self.out, flush=True)


class Suite:
    def __init__(self, folder, steps, any_commit=False, again=False):
        self.folder, self.steps, self.any_commit = folder, steps, any_commit
        os.makedirs(folder, exist_ok=True)
        self.state_path = os.path.join(folder, "state.json")
        self.head = commit()
        self.state = {} if again else self._read_state()

    def _read_state(self):
        try:
            with open(self.state_path) as f:
                found = json.load(f)
            return found if isinstance(found, dict) else {}
        except (OSError, ValueError):
            return {}

    def _write_state(self):
        scratch = self.state_path + ".new"
        with open(scratch, "w") as f:
            json.dump(self.state, f, indent=1)
            f.flush()
            os.fsync(f.fileno())
        os.replace(scratch, self.state_path)

    def result(self, step):
        return os.path.join(self.folder, step.name + ".json")

    def done(self, step):
        """Whether it ended well with these arguments at this commit (or any), and its results are there."""
        known = self.state.get(step.name, {})
        return (known.get("code") == 0 and known.get("arguments") == step.arguments
                and (self.any_commit or known.get("commit") == self.head)
                and os.path.exists(self.result(step)) and os.path.exists(self.result(step)[:-5] + ".run.json"))

    def guess(self, step):
        known = self.state.get(step.name, {})
        return known["seconds"] if known.get("code") == 0 and known.get("arguments") == step.arguments \
            and known.get("seconds") else step.seconds

    def run(self):
        """Runs what is not done; the number of steps that ended badly."""
        todo = [s for s in self.steps if not self.done(s)]
        if len(todo) < len(self.steps):
            print("bench: %d of %d steps are done already" % (len(self.steps) - len(todo), len(self.steps)),
                  file=sys.stderr, flush=True)
        progress = Progress(todo, {s.name: self.guess(s) for s in todo})
        bad = 0
        for step in todo:
            progress.show(step)
            began = time.monotonic()
            code = self._run_step(step, progress, began)
            seconds = time.monotonic() - began
            self.state[step.name] = {"commit": self.head, "arguments": step.arguments, "code": code,
                                     "seconds": round(seconds, 1)}
            self._write_state()
            progress.ended(step, seconds)
            if code:
                bad += 1
                progress.note("bench: %s ended with %d, see %s.log" % (
                    step.name, code, os.path.relpath(self.result(step)[:-5])))
        progress.note("bench: " + progress.text())
        return bad

    def _run_step(self, step, progress, began):
        stem = self.result(step)[:-5]
        command = [sys.executable, COMPARE, *step.arguments, "--json", stem + ".json", "--plot", stem + ".png"]
        with open(stem + ".log", "w") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                     preexec_fn=die_with_parent, start_new_session=True)
        try:
            while True:
                try:
                    return child.wait(1)
                except subprocess.TimeoutExpired:
                    progress.show(step, time.monotonic() - began)
        finally:
            if child.poll() is None:
                # stopped by hand: the comparison closes its libraries, and is given a while to
                child.terminate()
                try:
                    child.wait(30)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def run_plain(stem, steps):
    """Comparisons that are always made anew, with their figures on the terminal."""
    os.makedirs(OUT, exist_ok=True)
    for suffix, arguments in steps:
        path = os.path.join(OUT, stem + suffix)
        code = subprocess.call([sys.executable, COMPARE, *arguments, "--json", path + ".json", "--plot", path + ".png"])
        if code:
            return code
    return 0


def parser():
    ap = argparse.ArgumentParser(prog="bench/suite", description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=("quick", "million", "filters", "full"), help="quick: Fashion-MNIST, vecdb beside hnswlib, faiss "
                    "and NumPy, one thread, under ten minutes on two cores; million: the same of a million rows; filters: "
                    "the filter grid beside every rival that filters; full: every rival, data set and workload")
    ap.add_argument("--list", action="store_true", help="the steps, what was done of them, and how long they take")
    ap.add_argument("--only", help="steps by name, several with ,")
    ap.add_argument("--scale", help="rows that are left of each data set, or small (%d); also BENCH_SCALE" % plan.SMALL)
    ap.add_argument("--again", action="store_true", help="start over")
    ap.add_argument("--any-commit", action="store_true", help="results of other commits count as done")
    ap.add_argument("--effort", choices=("quick", "normal", "full"), default="normal", help="full: more builds of each")
    ap.add_argument("--plan", help="a JSON file with steps of one's own: [{name, arguments, seconds}]")
    ap.add_argument("--folder", help="where the results of full go (default: bench/out/full, or full-ROWS)")
    ap.add_argument("--no-report", action="store_true")
    ap.add_argument("--output", help="the page to write")
    return ap


def chosen(a):
    """(folder, steps) that the arguments ask for; ValueError says what is wrong with them."""
    scale = plan.rows_of(a.scale if a.scale is not None else os.environ.get("BENCH_SCALE"))
    steps = plan.read(a.plan) if a.plan else plan.steps(scale, len(os.sched_getaffinity(0)), a.effort)
    folder = a.folder or os.path.join(OUT, "full" if scale is None else "full-%d" % scale)
    if a.only:
        wanted = a.only.split(",")
        known = {s.name: s for s in steps}
        for name in wanted:
            if name not in known:
                raise ValueError("no step %s (known: %s)" % (name, " ".join(known)))
        steps = [s for s in steps if s.name in wanted]
    return folder, steps


def show(suite):
    for step in suite.steps:
        known = suite.state.get(step.name, {})
        what = "done" if suite.done(step) else "failed" if known.get("code") else "to do"
        print("%-6s %-28s %10s  %s" % (what, step.name, duration(suite.guess(step)), " ".join(step.arguments)))
    print("%d steps, %d done, about %s to go" % (
        len(suite.steps), sum(map(suite.done, suite.steps)),
        duration(sum(suite.guess(s) for s in suite.steps if not suite.done(s)))))


def report(a, folder):
    if a.no_report:
        return 0
    arguments = []
    if a.plan or a.folder:
        arguments = ["--folder", folder]
    if a.output or a.what != "full":
        arguments += ["--output", a.output or os.path.join(OUT, "benchmarks.md")]
    return subprocess.call([sys.executable, os.path.join(HERE, "report"), *arguments])


def _stop(signum, frame):
    raise KeyboardInterrupt


def main(argv=None):
    a = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    try:
        if a.what == "quick":
            return run_plain("fashion-mnist", plan.quick()) or report(a, OUT)
        if a.what == "million":
            stem, steps = plan.million(plan.rows_of(a.scale))
            return run_plain(stem, steps) or report(a, OUT)
        if a.what == "filters":
            steps = plan.filters()
            for stem in a.only.split(",") if a.only else steps:
                if stem not in steps:
                    raise ValueError("no step %s (known: %s)" % (stem, " ".join(steps)))
                code = run_plain(stem, [("", steps[stem])])
                if code:
                    return code
            return report(a, OUT)
        folder, steps = chosen(a)
        suite = Suite(folder, steps, a.any_commit, a.again)
    except (ValueError, OSError) as e:
        print("bench/suite: %s" % e, file=sys.stderr)
        return 2
    if a.list:
        show(suite)
        return 0
    with open(os.path.join(folder, "lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("bench/suite: another suite is measuring into %s" % os.path.relpath(folder), file=sys.stderr)
            return 2
        bad = suite.run()
    # the page is made of what is there, also when a step failed: it names what did
    code = report(a, folder)
    return 1 if bad else code
