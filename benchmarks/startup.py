"""Promise: `import geoetl` takes under 0.3 s and `geoetl --help` under 0.6 s.

Each is a new interpreter, as people meet it. The fastest of several rounds is told, because what else the machine does
only adds to it. Beside them, alternated in the same run: a Python that does nothing, and the command lines of rasterio
and papermill, which people of this field know.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

IMPORT_LIMIT_S = 0.3
HELP_LIMIT_S = 0.6

BIN = Path(sys.executable).parent
# The import is measured inside the interpreter, without the interpreter's own start.
TIMED_IMPORT = "import time; t = time.perf_counter(); import geoetl; print(time.perf_counter() - t)"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "geoetl --help": [str(BIN / "geoetl"), "--help"],
    "rio --help": [str(BIN / "rio"), "--help"],
    "papermill --help": [str(BIN / "papermill"), "--help"],
}


def main() -> int:
    """Measure, print the table and, as the last line, the result; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 25")
    rounds = 5 if parser.parse_args().quick else 25

    imports: list[float] = []
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    outputs: dict[str, set[str]] = {name: set() for name in COMMANDS}
    # The first round fills the caches of bytecode and of the file system, and is not counted.
    for round_number in range(rounds + 1):
        took = float(subprocess.run([sys.executable, "-c", TIMED_IMPORT], capture_output=True, check=True).stdout)
        if round_number:
            imports.append(took)
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            if round_number:
                times[name].append(time.perf_counter() - start)
                outputs[name].add(done.stdout)

    import_s = min(imports)
    best = {name: min(values) for name, values in times.items()}
    print(f"{'import geoetl':<20} {import_s:7.3f} s   promised: under {IMPORT_LIMIT_S} s")
    for name, seconds in best.items():
        print(f"{name:<20} {seconds:7.3f} s" + (f"   promised: under {HELP_LIMIT_S} s" if "geoetl" in name else ""))
    help_s = best["geoetl --help"]
    result = {
        "import_s": round(import_s, 3),
        "help_s": round(help_s, 3),
        "help_to_rio_help": round(help_s / best["rio --help"], 2),
        "help_to_papermill_help": round(help_s / best["papermill --help"], 2),
        "equal": all(len(output) == 1 for output in outputs.values()),
    }
    print(json.dumps(result))
    return int(import_s >= IMPORT_LIMIT_S or help_s >= HELP_LIMIT_S or not result["equal"])


if __name__ == "__main__":
    sys.exit(main())
