"""Odd and damaged inputs for every reader: each gives what an independent reader gives, or one line why not.

    python tests/fuzz/fuzz.py                            10,000 inputs over all readers
    python tests/fuzz/fuzz.py --only csv --inputs 2000
    python tests/fuzz/fuzz.py --only csv --number 17     the input that was named as faulty

Each input is drawn from a seed of its own (seed, reader, number), so that a fault comes back alone.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vip5.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))
LONGEST = 20.0  # seconds that one input may take

# A check reads one input that it draws and writes into an empty folder. It ends where what it read is right, raises
# UserError where the input is refused, and anything else where the reader is at fault.
Check = Callable[[random.Random, Path], None]


@dataclass
class Outcome:
    """What became of the inputs of one reader."""

    read: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A file as a full disk, a torn transfer or a bad medium leaves it: never the same bytes."""
    if not data:
        return b"\0"
    at = rng.randrange(len(data))
    kind = rng.choice(("cut", "empty", "flip", "flip", "flips", "zeros", "twice", "garbage", "lost"))
    if kind == "cut":
        return data[:at]
    if kind == "empty":
        return b""
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == "flips":
        broken = bytearray(data)
        for _ in range(rng.randint(2, 30)):
            broken[rng.randrange(len(data))] ^= rng.randint(1, 255)
        return bytes(broken) if broken != data else data[:-1]
    if kind == "zeros":
        end = min(len(data), at + rng.randint(1, 4096))
        return data[:at] + bytes(end - at) + data[end:] if any(data[at:end]) else data[:at]
    if kind == "twice":
        return data + data[at:]
    if kind == "garbage":
        return rng.randbytes(rng.randint(1, 200))
    return data[:at] + data[at + rng.randint(1, 64) :]


def run(name: str, check: Check, seed: int, numbers: range, most: float = float("inf")) -> Outcome:
    """Inputs of one reader, until so many seconds have gone by."""
    outcome, started = Outcome(), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="vip5-fuzz-"))
    try:
        for number in numbers:
            if time.monotonic() - started > most:
                break
            place = folder / str(number)
            place.mkdir()
            one(name, check, seed, number, place, outcome)
            shutil.rmtree(place, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def one(name: str, check: Check, seed: int, number: int, place: Path, outcome: Outcome) -> None:
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(random.Random(f"{seed}/{name}/{number}"), place)
        outcome.read += 1
    except UserError as refused:
        outcome.refused += 1
        if len(str(refused).splitlines()) != 1:
            outcome.faults.append(f"{name} {number}: not one line: {str(refused)!r}")
    except KeyboardInterrupt:
        raise
    except BaseException:  # Polars' panics are no Exception
        outcome.faults.append(f"{name} {number}: {traceback.format_exc()}")
    if (seconds := time.monotonic() - started) > LONGEST:
        outcome.faults.append(f"{name} {number}: took {seconds:.0f} seconds")


def readers() -> dict[str, tuple[float, Check]]:
    """All readers by name: their share of the inputs, and their check."""
    import fuzz_files
    import fuzz_photos
    import fuzz_settings
    import fuzz_tables

    return {
        "csv": (0.33, fuzz_tables.csv_table),
        "json-lines": (0.15, fuzz_tables.json_lines),
        "gzip": (0.09, fuzz_files.gzip_file),
        "parquet": (0.09, fuzz_files.parquet),
        "vectors": (0.09, fuzz_files.vectors),
        "photos": (0.11, fuzz_photos.photos),
        "settings": (0.11, fuzz_settings.settings),
        "prepare": (0.03, fuzz_tables.prepared),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="over all readers, or of the one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one reader")
    parser.add_argument("--number", type=int, help="one input of it")
    parser.add_argument("--minutes", type=float, default=30, help="at most, over all readers")
    args = parser.parse_args()
    faults = Counter[str]()
    for name, (share, check) in readers().items():
        if args.only in (None, name):
            part = 1.0 if args.only else share
            numbers = range(round(args.inputs * part)) if args.number is None else range(args.number, args.number + 1)
            started = time.monotonic()
            found = run(name, check, args.seed, numbers, 60 * args.minutes * part)
            faults[name] = len(found.faults)
            counts = f"{found.read} read, {found.refused} refused, {len(found.faults)} faults"
            print(f"{name}: {counts}, {time.monotonic() - started:.0f} s", flush=True)
            for fault in found.faults[:40]:
                print(f"  {fault}", flush=True)
    return min(faults.total(), 1)


if __name__ == "__main__":
    sys.exit(main())
