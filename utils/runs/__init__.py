"""Run folders: finding and reading them, records, comparison, leaderboard, cache."""
