"""Tables that runs and scripts leave behind, read back."""

import csv

import pandas as pd


def read_rows(path):
    """Rows of a CSV file as dicts of text."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_history(folder):
    """The epochs of a run but for their seconds, which no two runs share."""
    return pd.read_csv(folder / "history.csv").drop(columns="seconds")
