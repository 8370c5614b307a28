"""Table, files and picture of benchmarks/training.py from the seconds a step of every turn."""

import csv
import io
import statistics
from dataclasses import dataclass

from benchmarks.competitors import machine_line
from faces.files import write_figure, write_json, write_text
from faces.report.pictures.evaluation import BLUE, GREY, ORANGE, new_figure

NAMES = {
    "ours": "this project",
    "keras": "plain Keras",
    "keras_xla": "plain Keras, jit_compile=True",
    "torch": "plain PyTorch",
    "albumentations": "OpenCV + albumentations loader",
}
INPUT_SHARE = 0.05  # goal: what the input adds to a step, at most
FEEDS = ("memory", "packed")  # the inputs that this goal is about


@dataclass(frozen=True)
class Goal:
    """Least speed of ours by that of a competitor, compared on tensors in memory or from files, for some nets."""

    competitor: str
    source: str
    least: float
    backbones: tuple = ()  # empty: every net


GPU_SPEEDS = {"EfficientNetB0": 6000, "ResNet50": 3500}  # goals, images/s of the step on one H200
GOALS = (
    # Keras' default, jit_compile="auto", is XLA only where TensorFlow lists more than CPUs.
    Goal("keras_xla", "tensors", 9.0, ("MobileNetV3Small",)),
    Goal("keras", "tensors", 1.0),
    Goal("torch", "tensors", 1.0, ("MobileNetV3Small", "EfficientNetB0")),
    Goal("torch", "tensors", 0.85, ("ResNet50",)),
    Goal("albumentations", "files", 1.12, ("MobileNetV3Small",)),
    Goal("albumentations", "files", 1.0),
)


def summarise(result):
    """One dict a row of the table.

    Args:
        result: {"net": fields of a Net, "device": "CPU" or "GPU", "seconds": {"competitor/input": seconds a step of
            each turn}, "failed": {"competitor/input": one line}}; of a torch input the memory layout follows.

    Returns:
        dicts of net, size, device, batch, competitor, input, ms, images_per_second, ratio (speed of ours on the same
        kind of input by this one's: the median over the rounds), ratio_low, ratio_high, input_share (of the step, ours
        alone) and failed; None where there is no value.
    """
    net, seconds = result["net"], result["seconds"]
    rows = []
    for key in [*seconds, *result["failed"]]:
        competitor, _, source = key.partition("/")
        own = seconds.get(key)
        row = {"net": net["backbone"], "size": net["size"], "device": result["device"], "batch": net["batch"]}
        row |= {"competitor": competitor, "input": source, "failed": result["failed"].get(key)}
        median = statistics.median(own) if own else None
        row["ms"] = 1000 * median if own else None
        row["images_per_second"] = net["batch"] / median if own else None
        ratios = ratios_to_ours(seconds, key)
        row["ratio"] = statistics.median(ratios) if ratios else None
        row["ratio_low"], row["ratio_high"] = (min(ratios), max(ratios)) if ratios else (None, None)
        row["input_share"] = input_share(seconds, key)
        rows.append(row)
    return rows


def ratios_to_ours(seconds, key):
    """Seconds of a row by those of ours in the same round; empty where either was not measured."""
    base = "ours/tensors" if key.partition("/")[2].startswith("tensors") else "ours/memory"
    if key not in seconds or base not in seconds:
        return []
    return [other / own for other, own in zip(seconds[key], seconds[base], strict=True)]


def input_share(seconds, key):
    """Share of ours' step that is there because of its input: 1 - step on tensors / step on this input, at least 0."""
    if not key.startswith("ours/") or key == "ours/tensors" or not {key, "ours/tensors"} <= set(seconds):
        return None
    pairs = zip(seconds["ours/tensors"], seconds[key], strict=True)
    return max(0.0, statistics.median(1 - tensors / fed for tensors, fed in pairs))


def check_goals(rows):
    """(sentence, whether it is met) of every goal that has figures in the rows of `summarise`."""
    verdicts = []
    for net, of_net in by_net(rows).items():
        verdicts += [
            _speed_verdict(net, goal, of_net) for goal in GOALS if not goal.backbones or net[0] in goal.backbones
        ]
        verdicts += [_gpu_verdict(row) for row in of_net if row["device"] == "GPU" and row["net"] in GPU_SPEEDS]
        verdicts += [_input_verdict(row) for row in of_net]
    return [verdict for verdict in verdicts if verdict]


def by_net(rows):
    """{(backbone, size, device): its rows}."""
    nets = {}
    for row in rows:
        nets.setdefault((row["net"], row["size"], row["device"]), []).append(row)
    return nets


def net_name(backbone, size, device):
    return f"{backbone} {size}" + (", GPU" if device == "GPU" else "")


def _speed_verdict(net, goal, rows):
    # The fastest of a competitor's memory layouts counts.
    speeds = [
        row["ratio"]
        for row in rows
        if row["competitor"] == goal.competitor and row["input"].startswith(goal.source) and row["ratio"] is not None
    ]
    if not speeds:
        return None
    name = NAMES[goal.competitor]
    sentence = f"{net_name(*net)}: {min(speeds):.2f} times as fast as {name}, goal {goal.least:g}"
    return sentence, min(speeds) >= goal.least


def _gpu_verdict(row):
    if row["input"] != "tensors" or row["images_per_second"] is None:
        return None
    speed, least = row["images_per_second"], GPU_SPEEDS[row["net"]]
    return f"{_row_net(row)}: {speed:.0f} images/s, goal {least} on an H200", speed >= least


def _input_verdict(row):
    share = row["input_share"]
    if row["input"] not in FEEDS or share is None:
        return None
    name = f"{_row_net(row)}: input {row['input']}"
    return f"{name} takes {share:.1%} of the step, goal at most {INPUT_SHARE:.0%}", share <= INPUT_SHARE


def _row_net(row):
    return net_name(row["net"], row["size"], row["device"])


# === Table ===


def make_table(rows, not_measured=()):
    """Lines of a Markdown table.

    Args:
        rows: of `summarise`. not_measured: Nets that want a GPU where there is none.
    """
    lines = [
        "| net | batch | competitor | input | ms a step | images/s | ours is faster by (lowest to highest) | input |",
        "| --- | ---: | --- | --- | ---: | ---: | --- | ---: |",
    ]
    lines += [_line(row) for row in rows]
    for net in not_measured:
        lines.append(f"| {net_name(net.backbone, net.size, 'GPU')} | {net.batch} | | | not measured | | | |")
    return lines


def _line(row):
    start = f"| {_row_net(row)} | {row['batch']} | {NAMES[row['competitor']]} | {row['input']} |"
    if row["failed"]:
        return f"{start} {row['failed']} | | | |"
    ratio = ""
    if row["ratio"] is not None and row["competitor"] != "ours":
        ratio = f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
    share = "" if row["input_share"] is None else f"{row['input_share']:.1%}"
    return f"{start} {row['ms']:.1f} | {row['images_per_second']:.0f} | {ratio} | {share} |"


# === Files ===


def write_reports(folder, machine, results, not_measured=()):
    """Write training.json (every turn), training.csv, training.md and training.png; returns the rows."""
    rows = [row for result in results for row in summarise(result)]
    verdicts = [{"goal": sentence, "met": met} for sentence, met in check_goals(rows)]
    write_json(folder / "training.json", {"machine": machine, "results": results, "goals": verdicts})
    write_text(folder / "training.csv", _csv_text(rows))
    text = "\n".join([machine_line(machine), "", *make_table(rows, not_measured), ""])
    write_text(folder / "training.md", text)
    if any(_drawn(row) for row in rows):
        write_figure(folder / "training.png", ratio_figure(rows, machine))
    return rows


def _csv_text(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["net"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _drawn(row):
    return row["competitor"] != "ours" and row["ratio"] is not None


def ratio_figure(rows, machine):
    """Bars of ours' speed by each competitor's, a panel a net, whiskers from the lowest round to the highest."""
    nets = by_net([row for row in rows if _drawn(row)])
    counts = [len(of_net) for of_net in nets.values()]
    figure = new_figure(8, 0.9 * len(nets) + 0.32 * sum(counts) + 0.8)
    panels = figure.subplots(len(nets), 1, sharex=True, squeeze=False, height_ratios=counts)[:, 0]
    for axes, of_net in zip(panels, nets.values(), strict=True):
        _draw_net(axes, of_net)
    panels[-1].set_xlabel("speed of this project / speed of the other (higher is better)")
    figure.suptitle(f"Training, {machine['processor']}, {machine['cores']} cores, {machine['date']}", fontsize=10)
    return figure


def _draw_net(axes, rows):
    places, ratios = range(len(rows)), [row["ratio"] for row in rows]
    spread = [
        [max(0.0, row["ratio"] - row["ratio_low"]) for row in rows],
        [max(0.0, row["ratio_high"] - row["ratio"]) for row in rows],
    ]
    colours = [BLUE if ratio >= 1 else ORANGE for ratio in ratios]
    axes.barh(places, ratios, color=colours, xerr=spread, ecolor=GREY, height=0.7)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(places, [f"{NAMES[row['competitor']]}, {row['input']}" for row in rows], fontsize=8)
    axes.set_title(f"{_row_net(rows[0])} px, batch {rows[0]['batch']}", fontsize=9, loc="left")
    axes.invert_yaxis()
