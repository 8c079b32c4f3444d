"""A million realistic vectors out of the Fashion-MNIST images.

Each row is one training image, bent at random (rotation, stretch along each axis, shear, shift, and a smooth
displacement field), and then described the way SIFT describes a patch: gradient orientations in 8 bins voted
softly into 4 x 4 cells, the 128 numbers normalised, clipped at 0.2, normalised again and written as integers
0..255.  Queries come from the test images under the same law, so no query shares an image with the base.

Work is cut into chunks of 1000 rows, each with its own random stream keyed by (seed, split, chunk): the result
does not depend on how many processes share the work.
"""
import multiprocessing
import os

import numpy as np

from . import vecio

SEED = 20240601
CHUNK = 1000
SIDE = 28
MARGIN = 4              # black border, so that a shifted image reads zeros
FIELD = 5               # control points along a side of the displacement field
BEND = 0.7              # their standard deviation in pixels
CENTRE = (SIDE - 1) / 2

_row, _col = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32), indexing="ij")
DX, DY = (_col - np.float32(CENTRE)).ravel(), (_row - np.float32(CENTRE)).ravel()
WINDOW = np.exp(-((_col - CENTRE) ** 2 + (_row - CENTRE) ** 2) / (2 * 14.0 ** 2)).astype(np.float32)


def _cell_weights():
    """How much each of 28 pixels counts for each of 4 cells along one axis."""
    middle = (np.arange(4) + 0.5) * (SIDE / 4.0) - 0.5
    return np.maximum(0, 1 - np.abs(np.arange(SIDE)[:, None] - middle[None, :]) / (SIDE / 4.0)).astype(np.float32)


def _field_weights():
    """Bilinear weights of the control points at every pixel: (784, FIELD * FIELD)."""
    at = np.linspace(0, FIELD - 1, SIDE)
    w = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(FIELD)[None, :]))
    return np.kron(w, w).astype(np.float32)


CELLS = _cell_weights()
FIELD_WEIGHTS = _field_weights()


def bend(images, rng):
    """(b, 28, 28) bytes to (b, 28, 28) floats, and the law's (rotation, scale) of each."""
    b = len(images)
    width = SIDE + 2 * MARGIN
    framed = np.zeros((b, width, width), np.float32)
    framed[:, MARGIN:-MARGIN, MARGIN:-MARGIN] = images

    def normal(sigma):
        return rng.normal(0, sigma, b).astype(np.float32)
    rotation = normal(np.deg2rad(10))
    stretch_x = np.exp(rng.normal(0, 0.10, b)).astype(np.float32)
    stretch_y = np.exp(rng.normal(0, 0.10, b)).astype(np.float32)
    shear, shift_x, shift_y = normal(0.10), normal(1.2), normal(1.2)
    cos, sin = np.cos(rotation), np.sin(rotation)

    # where each output pixel comes from: the inverse of the affine map, then the displacement
    x = (cos / stretch_x)[:, None] * DX + ((sin + shear * cos) / stretch_x)[:, None] * DY
    y = (-sin / stretch_y)[:, None] * DX + ((cos - shear * sin) / stretch_y)[:, None] * DY
    x += (CENTRE + MARGIN + shift_x)[:, None]
    y += (CENTRE + MARGIN + shift_y)[:, None]
    field = rng.normal(0, BEND, (2, b, FIELD * FIELD)).astype(np.float32)
    x += field[0] @ FIELD_WEIGHTS.T
    y += field[1] @ FIELD_WEIGHTS.T
    np.clip(x, 0, width - 1.001, out=x)
    np.clip(y, 0, width - 1.001, out=y)

    col, row = x.astype(np.int32), y.astype(np.int32)
    x -= col
    y -= row
    corner = (np.arange(b, dtype=np.int32) * width * width)[:, None] + row * width + col
    flat = framed.ravel()
    upper = flat[corner] + x * (flat[corner + 1] - flat[corner])
    lower = flat[corner + width] + x * (flat[corner + width + 1] - flat[corner + width])
    return (upper + y * (lower - upper)).reshape(b, SIDE, SIDE), np.rad2deg(rotation), np.sqrt(stretch_x * stretch_y)


def describe(images):
    """(b, 28, 28) floats to (b, 128) bytes: cell row, cell column, orientation."""
    b = len(images)
    gx, gy = np.zeros_like(images), np.zeros_like(images)
    gx[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    gy[:, 1:-1, :] = images[:, 2:, :] - images[:, :-2, :]
    strength = (np.sqrt(gx * gx + gy * gy) * WINDOW).ravel()
    angle = np.arctan2(gy, gx).ravel() * np.float32(4 / np.pi)
    angle += np.float32(8) * (angle < 0)
    low = angle.astype(np.int32)
    part = angle - low
    low &= 7
    votes = np.zeros(b * SIDE * SIDE * 8, np.float32)
    pixel = np.arange(b * SIDE * SIDE, dtype=np.int64) * 8
    votes[pixel + low] = strength * (1 - part)
    votes[pixel + ((low + 1) & 7)] = strength * part
    rows = CELLS.T @ votes.reshape(b, SIDE, SIDE * 8)
    v = (CELLS.T @ rows.reshape(b * 4, SIDE, 8)).reshape(b, 128)
    v /= np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-6)
    np.minimum(v, 0.2, out=v)
    v /= np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-6)
    return np.minimum(np.rint(v * 512), 255).astype(np.uint8)


def _chunk(job):
    split, number, images = job
    rng = np.random.default_rng([SEED, split, number])
    bent, rotation, scale = bend(images, rng)
    return describe(bent), rotation.astype(np.float32), scale.astype(np.float32), bent.mean((1, 2)).astype(np.float32)


def _jobs(images, n, split):
    """Every image once before any image twice, in an order drawn anew each time round."""
    rounds = (n + len(images) - 1) // len(images)
    order = np.concatenate([np.random.default_rng([SEED, split, 10 ** 6 + r]).permutation(len(images))
                            for r in range(rounds)])[:n]
    jobs = ((split, c, images[order[s:s + CHUNK]]) for c, s in enumerate(range(0, n, CHUNK)))
    return order, jobs


def make(images_dir, n, nq, progress=None):
    """(base float32, queries float32, columns of the base: label, rotation, scale, mean)."""
    train = vecio.read_idx(os.path.join(images_dir, "train-images-idx3-ubyte.gz"))
    labels = vecio.read_idx(os.path.join(images_dir, "train-labels-idx1-ubyte.gz"))
    test = vecio.read_idx(os.path.join(images_dir, "t10k-images-idx3-ubyte.gz"))
    out = []
    # one BLAS thread a process: the pool is the parallelism
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for images, rows, split in ((train, n, 0), (test, nq, 1)):
            order, jobs = _jobs(images, rows, split)
            vectors = np.empty((rows, 128), np.float32)
            columns = [np.empty(rows, np.float32) for _ in range(3)]
            for c, (v, *values) in enumerate(pool.imap(_chunk, jobs, chunksize=1)):
                at = slice(c * CHUNK, c * CHUNK + len(v))
                vectors[at] = v
                for column, value in zip(columns, values):
                    column[at] = value
                if progress:
                    progress(at.stop, rows)
            out.append((vectors, order, columns))
    (base, order, (rotation, scale, mean)), (queries, _, _) = out
    return base, queries, {"label": labels[order].astype(np.int32), "rotation": rotation, "scale": scale,
                           "mean": mean}
