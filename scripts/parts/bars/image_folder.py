"""What a folder of very many images costs before the first training step: seconds, and bytes of memory per image.

    scripts/bars image_folder [--images 2000000] [--links hard|symbolic] [--max-samples N] [--folder DIR]

The folder is made of links to a few small files, and loaded in a process of its own up to the first batch: files listed
and split, those that are looked at decoded, the fingerprint of the float cache, one batch. The peak of memory is that
beyond a folder of 1,000 images. A row goes to experiments/2026-11-29-many-images/rows.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from scripts.parts.common import EXPERIMENTS, append_row, child_environment, commit, part, process_memory

FEW = 1000
CLASSES, SOURCES = 10, 64  # a file takes some 65,000 hard links on ext4
SIDE = 16
SECONDS, BYTES = 60, 100  # the bars


def make_folder(folder: Path, images: int, links: str) -> None:
    """`images` links in one folder per class."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    sources = []
    for number in range(SOURCES):
        sources.append(folder / "sources" / f"{number}.png")
        sources[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(sources[-1])
    link = os.link if links == "hard" else os.symlink
    for label in range(CLASSES):
        (folder / "images" / f"class{label}").mkdir(parents=True)
    for number in range(images):
        link(sources[number % SOURCES], folder / "images" / f"class{number % CLASSES}" / f"{number:08}.png")


def load(folder: str, max_samples: int) -> None:
    """In the child: everything before the first step, and what it took."""
    from qat.config import DataConfig
    from qat.data import load
    from qat.training.feeding import training_batches

    started, cpu = time.monotonic(), time.process_time()
    config = DataConfig(name="image_folder", path=folder, image_size=[SIDE, SIDE], max_samples=max_samples or None)
    splits = load(config, 256, 0)
    loaded = time.monotonic()
    splits.fingerprint()
    for _ in training_batches(splits.train, 32, task="classification", seed=0).take(1):
        pass
    seconds = {"loaded": loaded - started, "first_batch": time.monotonic() - started}
    print(json.dumps(seconds | {"cpu": time.process_time() - cpu, "peak": process_memory("VmHWM")}))


def measure(folder: Path, max_samples: int) -> dict[str, float]:
    command = part("bars.image_folder", "--load", folder, "--max-samples", max_samples)
    told = subprocess.run(command, env=child_environment(), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(told.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser("scripts/bars image_folder", description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=2_000_000)
    parser.add_argument("--links", choices=("hard", "symbolic"), default="hard")
    parser.add_argument("--max-samples", type=int, default=0, help="data.max_samples; 0 takes all")
    parser.add_argument("--folder", help="below which the images are made, and removed at the end")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.load, arguments.max_samples)
        return
    scratch = Path(tempfile.mkdtemp(prefix="qat-images-", dir=arguments.folder))
    try:
        make_folder(scratch / "few", FEW, arguments.links)
        make_folder(scratch / "many", arguments.images, arguments.links)
        few = measure(scratch / "few" / "images", arguments.max_samples)
        many = measure(scratch / "many" / "images", arguments.max_samples)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    per_image = (many["peak"] - few["peak"]) / (arguments.images - FEW)
    settings = {"images": arguments.images, "links": arguments.links, "max_samples": arguments.max_samples}
    row = settings | many | {"bytes_per_image": per_image, "load": os.getloadavg()[0], "commit": commit()}
    append_row(EXPERIMENTS / "2026-11-29-many-images" / "rows.jsonl", row)
    print(
        f"{arguments.images:,} images ({arguments.links} links): {many['first_batch']:.1f} s to the first batch (bar "
        f"{SECONDS}), {many['cpu']:.1f} s of processor time; {per_image:.0f} bytes per image (bar {BYTES})"
    )


if __name__ == "__main__":
    main()
