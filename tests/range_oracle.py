"""A second reader of range-coded lone lists, written from specification 5.3 and 5.4 alone; no tslt_wire inside."""

import re
from pathlib import Path

TEXT = (Path(__file__).resolve().parent.parent / "spec" / "tslt-wire.md").read_text()


def table(heading):
    block = re.search(rf"^{heading}[^\n]*\n\n((?:    [^\n]*\n)+)", TEXT, re.MULTILINE)[1]
    return [[int(n) for n in line.split()] for line in block.splitlines()]


S = [int(n) for n in re.search(r"^    S  (.*)$", TEXT, re.MULTILINE)[1].split(",")]
F, M = table("F, eight rows"), table("Masses M")


class Coder:
    def __init__(self, data):
        self.data, self.at, self.range = data, 8, 2**64 - 1
        self.code = int.from_bytes((data + bytes(8))[:8], "big")

    def find(self, total):
        f = self.code // (self.range // total)
        assert f < total
        return f

    def symbol(self, sizes):
        f, start = self.find(sum(sizes)), 0
        for i, size in enumerate(sizes):
            if f < start + size:
                self.go(start, size, sum(sizes))
                return i
            start += size
        raise AssertionError

    def go(self, start, size, total):
        part = self.range // total
        self.code -= part * start
        self.range = part * size
        while self.range < 2**56:
            assert self.at < len(self.data) + 8
            self.code = self.code * 256 + (self.data + bytes(8))[self.at]
            self.at += 1
            self.range *= 256

    def uniform(self, t):
        if t == 1:
            return 0
        f = self.find(t)
        self.go(f, 1, t)
        return f

    def chance(self, a, t):
        return self.symbol([t - a, a])

    def end(self):
        w = int.from_bytes((self.data + bytes(16))[self.at - 8 : self.at], "big")
        low = w - self.code
        for count in range(9):
            u = 2 ** (64 - 8 * count)
            v = -(-low // u) * u
            if v < low + self.range:
                break
        assert len(self.data) - (self.at - 8) == count
        assert v == w


def weights(n, left, right, a, c):
    first, last = max(0, n - right), min(n, left)
    m = min(max(n * a // (a + c), first), last)
    x = {m: 2**40}
    up = lambda k: (n - k) * (a + 16 * k) * (left - k) * right  # noqa: E731
    down = lambda k: (k + 1) * (c + 16 * (n - k - 1)) * (right - n + k + 1) * left  # noqa: E731
    for k in range(m, last):
        x[k + 1] = min(x[k] * up(k) // down(k), 2**44) if x[k] >= 2**16 else 0
    for k in range(m - 1, first - 1, -1):
        x[k] = min(x[k + 1] * down(k) // up(k), 2**44) if x[k + 1] >= 2**16 else 0
    return [max(1, x[k] // 2**16) for k in range(first, last + 1)]


def some_ids(coder, low, high, n, whole, size):
    f = min(high, size) - low
    if n == 0:
        return []
    if n == f:
        return list(range(low, low + f))
    top = low == 0 and high > 256
    if n == 1 and not top:
        return [low + coder.uniform(f)]
    mid = (low + high) // 2
    if mid >= size:
        return some_ids(coder, low, mid, n, whole, size)
    left, right = mid - low, f - (mid - low)
    if top:
        j = high.bit_length() - 1 - 8
        row = M[min(whole.bit_length(), 15) - 1]
        p, q, balls = sum(row[:j]), row[j] * (min(size, high) - mid) // mid + 1, 96
    else:
        p, q, balls = left, right, 320
    a, c = max(1, balls * p // (p + q)), max(1, balls * q // (p + q))
    k = max(0, n - right) + coder.symbol(weights(n, left, right, a, c))
    lower = some_ids(coder, low, mid, k, whole, size)
    return lower + some_ids(coder, mid, high, n - k, whole, size)


def read_list(data, size, precision):
    """Ids and codes."""
    coder = Coder(data)
    e = coder.symbol(S[: size.bit_length()])
    a, b = 2**e, min(size, 2 ** (e + 1) - 1)
    count = a
    if a < b and coder.chance(1, 2):
        count = a + 1 + coder.uniform(b - a)
    span = 2 ** max(8, (size - 1).bit_length())
    ids = list(range(size)) if count == size else some_ids(coder, 0, span, count, count, size)
    if not precision.startswith("log2/"):
        codes = [coder.uniform(2**16) for _ in ids]
        coder.end()
        return ids, codes
    s = int(precision[-1])
    u, d, level = [0], 0, 0
    while d < count:
        if level == 30 * 2**s or (level == 0 and u[0] == 0) or coder.chance(d + 1, d + 1 + 2 * 2**s):
            u[level] += 1
            d += 1
        else:
            level += 1
            u.append(0)
    levels = [c for c, n in enumerate(u) if n]
    u = [n for n in u if n]
    if len(u) == 1:
        codes = [0] * count
    else:
        c = [min((sum(u[:j]) + u[j] // 2).bit_length(), 7) for j in range(len(u))]
        codes = []
        for token in ids:
            if count > 4096:
                i = coder.symbol(u)
            else:
                o = min(max(token.bit_length() - 8, 0), 5)
                i = coder.symbol([u[j] * F[c[j]][o] for j in range(len(u))])
                u[i] -= 1
            codes.append(levels[i])
    coder.end()
    return ids, codes
