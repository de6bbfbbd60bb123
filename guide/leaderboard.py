"""The command that ranks every model and recipe by what is left of its accuracy when the stain is no help."""

from guide.views import show_tables
from models.scripts import Root
from utils import console
from utils.artifacts import FIGURES
from utils.paths import runs_dir


def leaderboard(root: Root = None) -> None:
    """Rank every model and recipe of a root by its accuracy on new stain groups under another class's stain."""
    from utils import leaderboard as board
    from utils import leaderboard_tables, recipe_tables
    from visualization import leaderboard as pictures

    place = root or runs_dir()
    records, problems = board.read(place)
    for problem in problems:
        console.warn(problem)
    found = board.rows(records)
    recipes = recipe_tables.rows(records)
    show_tables([*leaderboard_tables.shown(found), *recipe_tables.shown(recipes)])
    console.say()
    for sentence in (*leaderboard_tables.sentences(found), *leaderboard_tables.missing(found)):
        console.say(sentence)
    written = [*leaderboard_tables.write(place, found), *recipe_tables.write(place, recipes)]
    console.say(f"Tables: {', '.join(path.name for path in written)} in {place}")
    drawn = pictures.draw(found, place / FIGURES)
    console.say(f"Figure: {', '.join(str(path) for path in drawn)}")
    console.notice()
