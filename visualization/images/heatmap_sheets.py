"""Sheets of heatmaps: examples of a run, a panel of the same images for all runs, and new images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.heatmap_methods import title
from utils.runs import run_folder, split_spec
from utils.runs.run_folder import Run
from visualization import style
from visualization.compared_runs import Subject, one_seed_each
from visualization.images import thumbnails
from visualization.images.heatmap_overlay import Heatmap, grid_of, grid_words, overlay, read

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 224  # pixels of a picture
ACROSS = 7  # most models in a row of the panel
EXAMPLES = {
    "right": "no right one\nin this class",
    "wrong": "no mistake\nin this class",
    "unsure": "no image\nin this class",
}  # kinds of examples, with the text shown where a class has none


def draw_examples(run: Run) -> list[Path]:
    """Draw a correct, a wrong and an unsure example of each class into the run's figures; return one file per method.

    Nothing is drawn where the images are not available.

    Raises:
        LeukoBenchError: heatmaps.npz is missing or damaged, or the folder cannot be written.
    """
    made = []
    for method, figure in examples(run):
        made.append(style.save(figure, run.file(run_folder.FIGURES) / f"examples-{style.slug(method)}.png"))
    return made


def examples(run: Run, name: str = "") -> "list[tuple[str, Figure]]":
    """Return (method, figure) of the examples of a run; none where no image is available.

    One row for each class: the most confident correct, the most confident wrong and the least confident image.
    """
    config, drawn = run.config(), []
    heatmaps = [heatmap for heatmap in read(run) if heatmap.purpose in ("example", "unsure")]
    dataset, classes, variant = config["dataset"], config["classes"], thumbnails.variant_of(config)
    for method in dict.fromkeys(h.method for h in heatmaps):
        of_method = [h for h in heatmaps if h.method == method]
        held = {h.image: thumbnails.of_dataset(dataset, h.image, SIDE, variant) for h in of_method}
        if all(pixels is None for pixels in held.values()):
            continue
        # Older heatmaps have no unsure examples.
        columns = [kind for kind in EXAMPLES if kind != "unsure" or any(h.purpose == "unsure" for h in of_method)]
        side = 1.85 if len(classes) <= 6 else 1.4
        figure = style.new_figure(2 * len(columns) * side + 0.3, (side + 0.15) * len(classes) + 1.1)
        with style.applied():
            grid = figure.subplots(len(classes), 2 * len(columns), squeeze=False)
            for cells, label in zip(grid, classes, strict=True):
                of_class = [h for h in of_method if h.label == label]
                for k, kind in enumerate(columns):
                    found = next((h for h in of_class if _kind(h) == kind), None)
                    _example(cells[2 * k : 2 * k + 2], found, held, kind)
                cells[0].set_ylabel(style.wrap(label, 14), fontsize=10)
        layer = of_method[0].layer
        grid_told = f" ({words})" if (words := grid_words(grid_of(run, layer))) else ""
        about = f"{dataset}, {split_spec.words(config['split'])}, test images{thumbnails.seen_as(variant)}"
        about += f", layer {layer}{grid_told}"
        kinds = "most confident correct and wrong answers" + (" and the least confident one" if columns[2:] else "")
        style.set_heading(
            figure, f"{title(method)} of {name or run.label()}: {kinds} of each class", f"{about}. {style.NOTICE}"
        )
        drawn.append((method, figure))
    return drawn


def _kind(heatmap: Heatmap) -> str:
    return "unsure" if heatmap.purpose == "unsure" else "right" if heatmap.right else "wrong"


def _example(pair: "Sequence[Axes]", found: Heatmap | None, held: dict, kind: str) -> None:
    if found is None:
        thumbnails.show(pair[0], None, EXAMPLES[kind])
        pair[1].set_axis_off()
        return
    pixels = held[found.image]
    thumbnails.show(pair[0], pixels)
    answer = "right" if found.right else "wrong"
    words = f"least confident, {answer}" if kind == "unsure" else answer
    pair[0].set_title(words, fontsize=9, color=style.RIGHT if found.right else style.WRONG)
    thumbnails.show(pair[1], None if pixels is None else overlay(pixels, found.values))
    pair[1].set_title(found.words, fontsize=8.5, fontweight="normal")


def panel(subjects: Sequence[Subject]) -> "Figure | None":
    """Draw the same images with the heatmaps of every explained run, a column each; None where no image is available.

    Of runs that differ only in their seed one is drawn. More models than ACROSS continue in further rows, with the
    first image of each class only.
    """
    columns = [(subject, found) for subject in one_seed_each(subjects) if (found := read(subject.run, "panel"))]
    tiers, across = style.grid(len(columns), ACROSS)
    across = -(-len(columns) // tiers)
    used = [method for _, heatmaps in columns for method in dict.fromkeys(h.method for h in heatmaps)]
    common = max(dict.fromkeys(used), key=used.count)
    datasets = list(dict.fromkeys(s.run.config()["dataset"] for s in subjects))
    images = list(dict.fromkeys((h.label, h.image) for _, heatmaps in columns for h in heatmaps))
    images.sort(key=lambda pair: pair[0])
    if tiers > 1:
        images = [pair for k, pair in enumerate(images) if pair[0] not in {label for label, _ in images[:k]}]
    size = thumbnails.SIDE  # thumbnails, as the panel is published with the results
    held = {image: thumbnails.of_datasets(datasets, image, size) for _, image in images}
    if all(pixels is None for pixels in held.values()):
        return None
    side = 1.7 if len(columns) <= 6 else 1.45
    figure = style.new_figure(side * (across + 1) + 0.5, tiers * ((side + 0.14) * len(images) + 0.4) + 0.9)
    with style.applied():
        grid = figure.subplots(tiers * len(images), across + 1, squeeze=False)
        for k, cells in enumerate(grid):
            label, image = images[k % len(images)]
            thumbnails.show(cells[0], held[image])
            cells[0].set_ylabel(style.wrap(label, 14), fontsize=9.5)
            cells[0].set_title("" if k % len(images) else "Image", fontsize=9)
        for axes in grid[-len(images) :, 1 + len(columns) - (tiers - 1) * across :].flat:
            axes.set_axis_off()
        for k, (subject, heatmaps) in enumerate(columns):
            cells = grid[k // across * len(images) :, 1 + k % across]
            own = list(dict.fromkeys(h.method for h in heatmaps))
            method = common if common in own else own[0]
            by_image = {h.image: h for h in heatmaps if h.method == method}
            variant = thumbnails.variant_of(subject.run.config())
            for i, (_, image) in enumerate(images):
                seen = thumbnails.of_datasets(datasets, image, size, variant) if variant else held[image]
                _panel_cell(cells[i], seen, by_image.get(image))
            lines = [style.wrap(subject.name, 18), grid_words(grid_of(subject.run, heatmaps[0].layer))]
            lines += [f"({title(method)})"] * (method != common)
            cells[0].set_title("\n".join(filter(None, lines)), fontsize=9 if len(columns) <= 6 else 8)
    config = subjects[0].run.config()
    seeds = ", one seed of each model" if len({s.index for s in subjects}) > len(columns) else ""
    about = f"{datasets[0]}, {split_spec.words(config['split'])}, {len(images)} test images{seeds}. {style.NOTICE}"
    style.set_heading(figure, f"Heatmaps of the models: {title(common)}", about)
    return figure


def _panel_cell(axes: "Axes", pixels: "np.ndarray | None", heatmap: Heatmap | None) -> None:
    if heatmap is None:
        thumbnails.show(axes, None, "not explained")
        return
    thumbnails.show(axes, None if pixels is None else overlay(pixels, heatmap.values))
    sure = "" if heatmap.probability is None else f" {heatmap.probability:.2f}"
    mark, colour = ("right", style.RIGHT) if heatmap.right else ("wrong", style.WRONG)
    axes.set_xlabel(f"{mark}: {style.short(heatmap.predicted, 11)}{sure}", fontsize=7.5, color=colour, labelpad=2)


def draw_images(
    run: Run, image_paths: Sequence[Path], maps: "np.ndarray", predictions: "np.ndarray", path: Path
) -> Path:
    """Draw images with their heatmaps and the probabilities of all classes; return the file.

    Args:
        run: gives the class order.
        image_paths: n image files.
        maps: (n, h, w) in 0..1, for the class with the highest probability.
        predictions: (n, classes) probabilities.
        path: PNG to write.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    config = run.config()
    classes, variant = config["classes"], thumbnails.variant_of(config)
    tall = max(2.7, 0.26 * len(classes) + 0.7)
    figure = style.new_figure(8.6, 1.1 + tall * len(image_paths))
    with style.applied():
        grid = figure.subplots(len(image_paths), 3, squeeze=False, width_ratios=(1, 1, 1.5))
        for cells, file, values, shares in zip(grid, image_paths, maps, predictions, strict=True):
            pixels = thumbnails.load(Path(file), SIDE, variant)
            thumbnails.show(cells[0], pixels)
            cells[0].set_title(style.wrap(style.short(Path(file).name, 44), 24), fontsize=8.5, fontweight="normal")
            thumbnails.show(cells[1], None if pixels is None else overlay(pixels, values))
            first = max(range(len(classes)), key=lambda k, shares=shares: shares[k])
            cells[1].set_title(f"predicted {style.short(classes[first], 18)}", fontsize=8.5, fontweight="normal")
            colours = [style.colour(0) if k == first else "#b8b8b8" for k in range(len(classes))]
            bars = cells[2].barh(range(len(classes)), shares, color=colours)
            cells[2].bar_label(bars, [f"{share:.3f}" for share in shares], padding=3, fontsize=8.5)
            cells[2].set_yticks(range(len(classes)), [style.short(name, 26) for name in classes], fontsize=8.5)
            cells[2].set_ylim(len(classes) - 0.5, -0.5)
            cells[2].set_xlim(0, 1.18)
            cells[2].set_xticks([0, 0.5, 1])
            cells[2].set_xlabel("Probability")
    split = split_spec.words(config["split"])
    about = f"{run.label()}, trained on {config['dataset']}, {split}{thumbnails.seen_as(variant)}"
    style.set_heading(figure, style.NOTICE, about)
    return style.save(figure, path)
