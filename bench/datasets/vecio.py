"""Vector files: what the benchmarks can read, and a message that names the file when they cannot.

.fvecs .ivecs .bvecs   per row: little-endian int32 dimension, then float32 / int32 / uint8 values
.fbin .u8bin .i8bin    header of two uint32 (rows, dimension), then the values
.npy                   numpy's own, two-dimensional
idx3-ubyte(.gz)        the MNIST image format, one row per image
.hdf5                  ann-benchmarks: "train", "test", and the attribute "distance"
"""
import gzip
import os
import struct

import numpy as np

VECS = {".fvecs": np.dtype("<f4"), ".ivecs": np.dtype("<i4"), ".bvecs": np.dtype("u1")}
BINS = {".fbin": np.dtype("<f4"), ".u8bin": np.dtype("u1"), ".i8bin": np.dtype("i1")}
HDF5_METRICS = {"euclidean": "l2", "angular": "cosine", "dot": "ip"}


class BadFile(Exception):
    """A file that is not what its name says; the message has the path."""


def _read_vecs(path, dtype):
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        head = f.read(4)
    if len(head) < 4:
        raise BadFile("%s: %d bytes, too short for one row" % (path, size))
    dim = struct.unpack("<i", head)[0]
    stride = 4 + dim * dtype.itemsize
    if not 0 < dim <= 1 << 20 or size % stride:
        raise BadFile("%s: %d bytes are no whole number of rows of dimension %d" % (path, size, dim))
    rows = np.memmap(path, np.uint8, "r", shape=(size // stride, stride))
    if not (np.ascontiguousarray(rows[:, :4]).view("<i4") == dim).all():
        raise BadFile("%s: rows differ in dimension" % path)
    return np.ascontiguousarray(rows[:, 4:]).view(dtype)


def _read_bin(path, dtype):
    size = os.path.getsize(path)
    if size < 8:
        raise BadFile("%s: %d bytes, too short for its header" % (path, size))
    with open(path, "rb") as f:
        n, dim = struct.unpack("<II", f.read(8))
    if size - 8 != n * dim * dtype.itemsize:
        raise BadFile("%s: header says %d x %d, the size says otherwise (%d bytes)" % (path, n, dim, size))
    return np.memmap(path, dtype, "r", offset=8, shape=(n, dim))


def read_idx(path):
    """An MNIST file of unsigned bytes, in its own shape."""
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rb") as f:
            data = f.read()
    except (OSError, EOFError) as e:
        raise BadFile("%s: %s" % (path, e)) from e
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise BadFile("%s: not an idx file of unsigned bytes" % path)
    shape = struct.unpack(">%dI" % data[3], data[4:4 + 4 * data[3]])
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if values.size != np.prod(shape, dtype=np.int64):
        raise BadFile("%s: shape %s does not fit %d values" % (path, shape, values.size))
    return values.reshape(shape)


def read(path):
    """The rows of one file, in their stored type."""
    if not os.path.exists(path):
        raise BadFile("%s: no such file" % path)
    ext = os.path.splitext(path)[1]
    if ext in VECS:
        rows = _read_vecs(path, VECS[ext])
    elif ext in BINS:
        rows = _read_bin(path, BINS[ext])
    elif ext == ".npy":
        try:
            rows = np.load(path, mmap_mode="r")
        except ValueError as e:
            raise BadFile("%s: %s" % (path, e)) from e
    elif "idx" in os.path.basename(path):
        rows = read_idx(path)
        rows = rows.reshape(len(rows), -1)
    else:
        raise BadFile("%s: unknown format (known: %s .npy idx)" % (path, " ".join([*VECS, *BINS])))
    if rows.ndim != 2 or not rows.size:
        raise BadFile("%s: shape %s is not rows of vectors" % (path, rows.shape))
    if rows.dtype.kind not in "fiu":
        raise BadFile("%s: values of type %s" % (path, rows.dtype))
    return rows


def read_hdf5(path):
    """(base, queries, metric) of an ann-benchmarks file."""
    try:
        import h5py
    except ImportError as e:
        raise BadFile("%s: reading HDF5 needs h5py (make bench-setup)" % path) from e
    try:
        with h5py.File(path, "r") as f:
            distance = f.attrs.get("distance", "euclidean")
            distance = distance.decode() if isinstance(distance, bytes) else str(distance)
            base, queries = f["train"][:], f["test"][:]
    except (OSError, KeyError) as e:
        raise BadFile("%s: not an ann-benchmarks HDF5 file: %s" % (path, e)) from e
    if distance not in HDF5_METRICS:
        raise BadFile("%s: distance %s (known: %s)" % (path, distance, " ".join(HDF5_METRICS)))
    return base, queries, HDF5_METRICS[distance]


def write_vecs(path, rows):
    """Writes .fvecs, .ivecs or .bvecs, as the extension says."""
    dtype = VECS[os.path.splitext(path)[1]]
    n, dim = rows.shape
    step = max(1, (64 << 20) // (4 + dim * dtype.itemsize))
    with open(path, "wb") as f:
        for s in range(0, n, step):
            part = np.ascontiguousarray(rows[s:s + step], dtype)
            out = np.empty((len(part), 4 + dim * dtype.itemsize), np.uint8)
            out[:, :4] = np.frombuffer(struct.pack("<i", dim), np.uint8)
            out[:, 4:] = part.view(np.uint8).reshape(len(part), -1)
            out.tofile(f)
