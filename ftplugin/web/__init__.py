"""The web part: monitor pages, node API and admin page. It neither probes nor fences (design 2)."""
