"""The built wheel, installed in a clean environment and used from a foreign folder, brings its configuration along."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from qat.deploy.snippets import FILES

CHECKOUT = Path(__file__).parents[2]


def run(*command, cwd, **environment):
    plain = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=plain | environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, CHECKOUT, cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("qat_keras-*.whl"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """Python of an environment that holds the wheel alone; dependencies are looked up where the tests find theirs."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    installed = run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel, cwd=folder)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    # A path in a .pth file is searched, but the .pth files in it (that of an editable qat) are not read.
    (next(folder.glob("lib/*/site-packages")) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_it_holds_the_templates_that_snippets_are_made_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert {f"qat/deploy/templates/{name}" for name in FILES} <= set(archive.namelist())


def test_it_holds_the_files_that_its_modules_read(wheel):
    read = [CHECKOUT / "qat/models/untrusted/allowed.ini", *(CHECKOUT / "qat/reporting/assets").iterdir()]
    with zipfile.ZipFile(wheel) as archive:
        assert {path.relative_to(CHECKOUT).as_posix() for path in read} <= set(archive.namelist())


def test_the_package_is_the_one_from_the_wheel(python, tmp_path):
    shown = run(python, "-c", "import qat; from qat.cli import conf_dir; print(qat.__file__, conf_dir())", cwd=tmp_path)
    package, conf = map(Path, shown.stdout.split())
    assert python.parents[1] in package.parents
    assert conf == package.parent / "conf"


def test_it_composes_the_same_config_as_the_checkout(python, tmp_path):
    arguments = ("-m", "qat.train", "--cfg", "job", "model=mobilenet", "quant=qat")
    there = run(python, *arguments, cwd=tmp_path)
    here = run(sys.executable, *arguments, cwd=CHECKOUT)
    assert there.returncode == here.returncode == 0
    assert there.stdout == here.stdout
    assert "alpha: 0.25" in there.stdout


def test_it_ships_its_licence_and_names_its_choices(python, tmp_path):
    refused = run(python, "-m", "qat.train", "model=mobilnet", cwd=tmp_path)
    assert refused.returncode == 2
    assert "Did you mean model=mobilenet? Choices of model: autoencoder, ds_cnn" in refused.stderr
    assert list(python.parents[1].glob("lib/*/site-packages/qat_keras-*.dist-info/licenses/LICENSE"))


@pytest.mark.slow
def test_it_runs_the_main_job_in_a_foreign_folder(python, tmp_path):
    arguments = ("debug=tiny", "model=simple_cnn", "quant=qat", "hydra.run.dir=run")
    done = run(python, "-m", "qat.train", *arguments, cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(result["variants"]) == {"float", "ptq_int8", "qat_int8"}
    assert result["git_commit"] is None
