"""Run folders: finding and reading them and their files; records, comparison, leaderboard, cache."""
