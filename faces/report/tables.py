"""The error of each decade of age, and the folder of files that an evaluation is written to."""

import numpy as np
import pandas as pd

from faces.report.files import make_folder, write_csv, write_figure, write_json
from faces.report.pictures import error_by_age_figure, predicted_vs_true_figure
from faces.report.summary import averaged, known, mean, numbers


def error_by_age(columns, *, resamples=1000, seed=0):
    """Age error of each decade of true age: columns decade, n, mae, low, high, bias; one row a decade with images.

    `bias` is the mean of predicted minus true age in years, positive where the model says too old.
    """
    columns = columns[known(columns, "absolute_error") & known(columns, "age")]
    decades = numbers(columns, "age") // 10 * 10
    rows = []
    for decade in np.unique(decades):
        part = columns[decades == decade]
        error = averaged(part, numbers(part, "absolute_error"), resamples=resamples, seed=seed)
        bias = mean(numbers(part, "predicted_age") - numbers(part, "age"))
        rows.append((int(decade), len(part), *error.values(), bias))
    return pd.DataFrame(rows, columns=["decade", "n", "mae", "low", "high", "bias"])


def write_report(columns, summary, folder):
    """Write metrics.json, predictions.csv and, where ages are known, predicted_vs_true.png and error_by_age.png.

    Args:
        columns: as for `summarize`, with `predicted_age` for the pictures.
        summary: what `summarize` returned for these columns.
        folder: made if need be; files of an earlier report in it are replaced, pictures that no longer apply removed.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = make_folder(folder)
    write_json(folder / "metrics.json", summary)
    write_csv(folder / "predictions.csv", columns)
    pictures = {"predicted_vs_true.png": None, "error_by_age.png": None}
    by_age = error_by_age(columns)
    if len(by_age):
        ages, predicted = numbers(columns, "age"), numbers(columns, "predicted_age")
        pictures["predicted_vs_true.png"] = predicted_vs_true_figure(ages, predicted, summary["age_mae"])
        pictures["error_by_age.png"] = error_by_age_figure(by_age)
    for name, figure in pictures.items():
        if figure is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_figure(folder / name, figure)
