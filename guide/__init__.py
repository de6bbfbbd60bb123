"""The commands by group and the menu over them: the one room that ties models and visualization together."""
