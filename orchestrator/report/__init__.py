"""The page on which people look at results: one HTML file that needs no network but for the files it shows."""
