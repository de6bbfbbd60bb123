"""Files: atomic writing of files and folders, locks."""
