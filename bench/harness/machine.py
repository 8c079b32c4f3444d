"""What the figures were measured on."""
import datetime
import json
import os
import platform
import resource
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SETS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
        "avx512_fp16", "avx512_vpopcntdq", "avx512_vbmi", "avx512_vbmi2", "avx_vnni", "amx_int8", "asimd", "asimddp", "sve")


def _first_line(*command):
    try:
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30,
                             cwd=ROOT).stdout.strip()
        return out.splitlines()[0] if out else None
    except (OSError, subprocess.TimeoutExpired):
        return None


def _cpu():
    model, flags = platform.processor() or platform.machine(), []
    with open("/proc/cpuinfo") as f:
        for line in f:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = value.split()
                break
    return model, [s for s in SETS if s in flags]


def _caches():
    sizes = {}
    base = "/sys/devices/system/cpu/cpu0/cache"
    try:
        for entry in sorted(os.listdir(base)):
            folder = os.path.join(base, entry)
            if not os.path.isdir(folder):
                continue
            values = []
            for name in ("level", "type", "size"):
                with open(os.path.join(folder, name)) as f:
                    values.append(f.read().strip())
            if values[1] != "Instruction":
                sizes["L" + values[0]] = values[2]
    except OSError:
        pass
    return sizes


def load():
    return [round(x, 2) for x in os.getloadavg()]


def busy_seconds():
    """Processor seconds that all programs have used, and those of them that this one and its ended children did."""
    with open("/proc/stat") as f:
        spent = [int(x) for x in f.readline().split()[1:9]]
    everybody = (sum(spent) - spent[3] - spent[4]) / os.sysconf("SC_CLK_TCK")      # not idle, not waiting for a disk
    mine = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return everybody, mine


def record():
    model, sets = _cpu()
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) * 1024
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as f:
            huge = f.read().split("[")[1].split("]")[0]
    except (OSError, IndexError):
        huge = None
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _first_line("git", "rev-parse", "--short=12", "HEAD"),
        "dirty": bool(_first_line("git", "status", "--porcelain", "--untracked-files=no")),
        "cpu": model, "cores": len(os.sched_getaffinity(0)), "instruction_sets": sets, "caches": _caches(),
        "memory_bytes": memory, "transparent_huge_pages": huge, "kernel": platform.release().split("-")[0],
        "system": platform.system() + " " + platform.machine(), "compiler": _first_line("cc", "--version"),
        "python": platform.python_version(), "load_at_start": load(),
    }


def probe(binary=None, seconds=1.0):
    """The constants of bench/probe, or why they are missing."""
    binary = binary or os.environ.get("VECDB_PROBE") or os.path.join(ROOT, "build", "bench", "probe")
    if not os.path.exists(binary):
        return {"missing": "%s is not built (make bench-probe)" % os.path.relpath(binary, ROOT)}
    try:
        out = subprocess.run([binary, "--json", "--seconds", str(seconds)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, timeout=120)
        if out.returncode:
            return {"missing": "probe ended with %d: %s" % (out.returncode, out.stderr.strip()[:200])}
        return json.loads(out.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:
        return {"missing": "probe: %s" % e}
