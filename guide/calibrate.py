"""Command `calibrate`: calibration, temperature, selective prediction and conformal sets of runs."""

from typing import Annotated

import typer

from guide.views import show_tables
from models.engine.cli import Root
from utils import console
from utils.io import files
from utils.metrics.selective_prediction import WANTED
from utils.paths import runs_dir
from utils.runs import lookup, split_spec
from utils.runs.run_folder import FIGURES


def calibrate(
    runs: Annotated[list[str], typer.Argument(help="Runs or models.")],
    errors: Annotated[float, typer.Option(min=0, max=1, help="Accepted error rate of selective prediction.")] = WANTED,
    root: Root = None,
) -> None:
    """Measure calibration, selective prediction and conformal sets: fitted on validation, measured on test images."""
    from utils.runs import calibration_file, comparison, seal
    from utils.runs import records as run_records
    from utils.tables import calibration as calibration_tables
    from visualization.displays import reliability, risk_coverage

    chosen = [lookup.open_run(name, root or runs_dir()) for name in runs]
    found = [calibration_file.measure(run, errors) for run in chosen]
    records = [run_records.measure(run) for run in chosen]
    names = comparison.labels(records)
    rows = [
        {"name": names[run]} | calibration_tables.columns(measured) for run, measured in zip(chosen, found, strict=True)
    ]
    show_tables(calibration_tables.tables(rows))
    console.say()
    for run, record, measured in zip(chosen, records, found, strict=True):
        with seal.together(run) as stage:
            files.write_json(stage / calibration_file.FILE, measured)
        made = [module.save(run, measured, run.file(FIGURES)) for module in (reliability, risk_coverage)]
        console.say(f"{run.id}, {split_spec.words(record.row['split'])}, seed {record.row['seed']}")
        console.say(f"  {', '.join([calibration_file.FILE, *(f'{FIGURES}/{path.name}' for path in made)])}")
    console.notice()
