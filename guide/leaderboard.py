"""Command `leaderboard`: rank models and recipes by their accuracy under another class's stain."""

from guide.views import show_tables
from models.engine.cli import Root
from utils import console, paths
from utils.runs.run_folder import FIGURES


def leaderboard(root: Root = None) -> None:
    """Rank all models and recipes by accuracy on unseen stain groups in the stain of another class."""
    from utils.runs import leaderboard as board
    from utils.tables import leaderboard as leaderboard_tables
    from utils.tables import recipes as recipes_tables
    from visualization.displays import leaderboard as leaderboard_figures

    place = root or paths.runs_dir()
    paths.check_inside(place / FIGURES, place)
    records, problems = board.read(place)
    for problem in problems:
        console.warn(problem)
    found = board.rows(records)
    recipes = recipes_tables.rows(records)
    show_tables([*leaderboard_tables.shown(found), *recipes_tables.shown(recipes)])
    console.say()
    for sentence in (*leaderboard_tables.sentences(found), *leaderboard_tables.missing(found)):
        console.say(sentence)
    written = [*leaderboard_tables.write(place, found), *recipes_tables.write(place, recipes)]
    console.say(f"Tables: {', '.join(path.name for path in written)} in {place}")
    drawn = leaderboard_figures.draw(found, place / FIGURES)
    console.say(f"Figure: {', '.join(str(path) for path in drawn)}")
    console.notice()
